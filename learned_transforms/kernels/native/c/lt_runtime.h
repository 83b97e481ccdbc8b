/* learned_transforms without Python: load a program file, and run it on images in memory.
 *
 * Python writes such a file: learned_transforms.export.program(pipeline, "eval.ltp"). What comes out has the pixels of the
 * pipeline there. docs/runtimes.md has an example, and what a program holds.
 *
 * Every function that can fail returns LT_OK or a reason; lt_message() says more. A program may be used by several threads
 * at once. Nothing here needs to be freed but programs. */
#ifndef LT_RUNTIME_H
#define LT_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __GNUC__
#define LT_API __attribute__((visibility("default")))
#else
#define LT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    LT_OK = 0,
    LT_NO_FILE = 1,        /* it cannot be read */
    LT_DAMAGED = 2,        /* it is no program file, is of another version, or was changed after it was written */
    LT_BAD_ARGUMENT = 3,   /* an argument is missing, or out of range */
    LT_BAD_IMAGE = 4,      /* the program does not run on images of this size or layout */
    LT_NO_MEMORY = 5
} lt_status;

typedef enum { LT_UINT8 = 0, LT_FLOAT32 = 1, LT_FLOAT16 = 2, LT_BFLOAT16 = 3 } lt_dtype;

/* How values lie in memory: those of a pixel side by side, or those of a channel. LT_AS_PYTHON: as the pipeline leaves
 * them there. */
typedef enum { LT_AS_PYTHON = 0, LT_HWC = 1, LT_CHW = 2 } lt_layout;

typedef struct lt_program lt_program;

/* An image of bytes. Steps are in bytes, from a row, pixel or channel to the next: (3 * width, 3, 1) for RGB, (4 * width, 4,
 * 1) for the RGB of RGBA, (width, 1, width * height) for planes. */
typedef struct {
    const uint8_t* data;
    int64_t height, width;
    int64_t row, pixel, channel;
} lt_image;

/* What is drawn for an image. Bit n of `outcome` says whether coin n is applied, see lt_coin(). A window is (top, left,
 * height, width); programs that take one need it, and others have none. */
typedef struct {
    uint32_t outcome;
    const int64_t* window;
} lt_draw;

/* Shape (C, H, W) and dtype of a result, its layout, LT_HWC or LT_CHW, and its bytes. */
typedef struct {
    int64_t channels, height, width;
    lt_dtype dtype;
    lt_layout layout;
    size_t bytes;
} lt_output;

/* Why the last call of this thread failed, in words. */
LT_API const char* lt_message(void);

/* Read a program of a file, or of memory, which is not needed any more afterwards. */
LT_API lt_status lt_open(const char* path, lt_program** program);
LT_API lt_status lt_read(const void* bytes, size_t size, lt_program** program);
LT_API void lt_free(lt_program* program);

/* Channels of its images; whether each comes with a window; how many coins there are, and the transform that each is of. */
LT_API int64_t lt_channels(const lt_program* program);
LT_API int lt_windowed(const lt_program* program);
LT_API int lt_coins(const lt_program* program);
LT_API const char* lt_coin(const lt_program* program, int number);

/* A text of the file: "pipeline" and "certificates" are JSON, "digest" is a hash of it; NULL: there is none. */
LT_API const char* lt_about(const lt_program* program, const char* name);

/* What comes out for images of a size; `draw` may be NULL: no coin, no window. */
LT_API lt_status lt_describe(const lt_program* program, int64_t height, int64_t width, const lt_draw* draw,
                             lt_layout layout, lt_output* output);

/* Run on an image, into `bytes` bytes at `target`, as many as lt_describe says. */
LT_API lt_status lt_run(const lt_program* program, const lt_image* image, const lt_draw* draw, lt_layout layout,
                        void* target, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
