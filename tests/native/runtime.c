/* Runs the cases that tests/runtime_cases.py wrote, and counts the bytes that differ from Python's: runtime FILE */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lt_runtime.h"

enum { HEIGHT, WIDTH, ROW, PIXEL, CHANNEL, OFFSET, OUTCOME, WINDOWED, WINDOW, LAYOUT = WINDOW + 4, NUMBERS };

typedef struct {
    int64_t size;
    unsigned char* bytes;
} Blob;

/* Exits where a file ends too early, or memory does. */
static void demand(int holds, const char* what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        exit(2);
    }
}

static Blob blob(FILE* file) {
    Blob made;
    demand(fread(&made.size, 8, 1, file) == 1 && made.size > 0, "the cases end too early");
    made.bytes = malloc((size_t)made.size);
    demand(made.bytes && fread(made.bytes, 1, (size_t)made.size, file) == (size_t)made.size, "the cases end too early");
    return made;
}

static int64_t differing(const unsigned char* one, const unsigned char* other, int64_t size) {
    int64_t count = 0;
    for (int64_t i = 0; i < size; ++i) count += one[i] != other[i];
    return count;
}

/* Bytes that differ; all of them where it fails. */
static int64_t run(FILE* file, const int64_t* numbers) {
    Blob content = blob(file), memory = blob(file), expected = blob(file);
    lt_program* program = NULL;
    lt_output output;
    const lt_image image = {memory.bytes + numbers[OFFSET], numbers[HEIGHT], numbers[WIDTH],
                            numbers[ROW],                   numbers[PIXEL],  numbers[CHANNEL]};
    const lt_draw draw = {(uint32_t)numbers[OUTCOME], numbers[WINDOWED] ? numbers + WINDOW : NULL};
    const lt_layout layout = (lt_layout)numbers[LAYOUT];
    int64_t count = expected.size;
    lt_status status = lt_read(content.bytes, (size_t)content.size, &program);
    free(content.bytes); /* It is not needed any more. */
    if (status == LT_OK) status = lt_describe(program, image.height, image.width, &draw, layout, &output);
    if (status == LT_OK && (int64_t)output.bytes == expected.size) {
        unsigned char* made = malloc(output.bytes);
        demand(made != NULL, "there is not enough memory");
        count = 0;
        for (int again = 0; again < 2 && status == LT_OK; ++again) {
            memset(made, 171, output.bytes);
            status = lt_run(program, &image, &draw, layout, made, output.bytes);
            count += differing(made, expected.bytes, expected.size);
        }
        free(made);
    }
    if (status != LT_OK) printf("status %d: %s\n", (int)status, lt_message());
    lt_free(program);
    free(memory.bytes), free(expected.bytes);
    return status == LT_OK ? count : expected.size;
}

/* Mistakes of a caller have a status, and do nothing else. */
static int mistakes(void) {
    lt_program* program = NULL;
    lt_output output;
    int wrong = 0;
    wrong += lt_open("/there/is/no/such/file", &program) != LT_NO_FILE || program;
    wrong += lt_open(NULL, &program) != LT_BAD_ARGUMENT;
    wrong += lt_open("x", NULL) != LT_BAD_ARGUMENT;
    wrong += lt_read("learned", 7, &program) != LT_DAMAGED || program;
    wrong += lt_read(NULL, 7, &program) != LT_BAD_ARGUMENT;
    wrong += lt_describe(NULL, 1, 1, NULL, LT_HWC, &output) != LT_BAD_ARGUMENT;
    wrong += lt_run(NULL, NULL, NULL, LT_HWC, NULL, 0) != LT_BAD_ARGUMENT;
    wrong += lt_channels(NULL) != 0 || lt_coins(NULL) != 0 || lt_coin(NULL, 0) || lt_about(NULL, "digest");
    lt_free(NULL);
    return wrong;
}

int main(int count, char** arguments) {
    int64_t numbers[NUMBERS], cases = 0, bad = 0, bytes = 0;
    FILE* file = count > 1 ? fopen(arguments[1], "rb") : NULL;
    demand(file != NULL, "runtime FILE, as tests/runtime_cases.py writes it");
    while (fread(numbers, 8, NUMBERS, file) == NUMBERS) {
        const int64_t differ = run(file, numbers);
        if (differ) printf("case %lld: %lld bytes differ\n", (long long)cases, (long long)differ);
        bytes += differ, bad += differ != 0, ++cases;
    }
    fclose(file);
    const int wrong = mistakes();
    printf("%lld of %lld cases differ, in %lld bytes; %d mistakes have another status\n", (long long)bad,
           (long long)cases, (long long)bytes, wrong);
    return bad || wrong || cases == 0 ? 1 : 0;
}
