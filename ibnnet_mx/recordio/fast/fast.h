/* Records of pictures in C: JPEG to views, without Python, numpy or mxnet. One Decoder a thread, no other state. */
#ifndef IBNNET_FAST_H
#define IBNNET_FAST_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>

#define EXPORT __attribute__((visibility("default")))
#define MAX_PIXELS (1 << 27) /* of a picture as declared; larger ones are refused before memory is asked for */
#define MAX_SCANS 100        /* of a progressive JPEG; usual are 10, and each costs a pass over the picture, so that */
#define MAX_WORK (10 * (int64_t)MAX_PIXELS) /* of large ones fewer are read: that many pixels in all scans */
#define SLACK 64             /* bytes and one row behind each plane that the kernels may read, never use */
#define WHY 120              /* bytes of an error's text */

/* Kinds of a payload: FOREIGN ones are decoded elsewhere, of UNREAD ones more must be read than their beginning. */
enum { JPEG = 0, FOREIGN = 1, BROKEN = 2, UNREAD = 3 };
enum { NONE = 0, WARP = 1, LINEAR = 2, AREA = 3 }; /* kinds of a step, as in geometry.py */
#define CHANGED "is not what it was when the file was opened" /* native.py knows these words */

/* geometry.STEP: from a picture to width x height pixels.
   WARP: x' = m0 x + m1 y + m2, y' = m3 x + m4 y + m5, bilinear, the row's `fill` outside of the picture.
   LINEAR, AREA: box (left, top, right, bottom) brought to full_width x full_height, of that the window at x, y. */
typedef struct {
  double matrix[6];
  int32_t box[4], kind, width, height, full_width, full_height, x, y, unused;
} Step;

/* geometry.ROW: a view. `first` may be NONE. hls: changes in OpenCV's 8-bit units. */
typedef struct {
  Step first, last;
  int32_t mirror, hls[3], fill, unused;
} Row;

/* native.SOURCE: a JPEG of `length` bytes, or (stride > 0) decoded RGB planes with a row and SLACK behind them. Without
   data the JPEG is in a file, `start` bytes behind the beginning of its record at `offset`. */
typedef struct {
  const uint8_t *data;
  int64_t length, offset;
  int32_t fd, start, width, height, stride, kind;
} Source;

typedef struct {
  int width, height, parts, hs, vs, interval;
  int regular;   /* baseline or progressive Huffman, 8 bits, grey or 4:4:4, 4:2:2, 4:4:0, 4:2:0 */
  int segments;  /* of a row of MCUs; 0: the JPEG cannot be cut */
  size_t size_at, scan_at;
} Head;

typedef struct { int left, top, right, bottom; } Box;

/* Pixels of a part of a picture. Chroma planes are smaller by hs and vs; x, y: where the part begins, a multiple. */
typedef struct {
  int count, ycc, hs, vs, x, y, width, height;
  int full_width, full_height;
  uint8_t *at[3];
  int stride[3];
} Planes;

typedef struct { uint8_t *at; size_t room; } Buffer;

/* The way out of libjpeg: its errors and warnings end the work, with their words in `why`. */
typedef struct {
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf escape;
  char why[WHY];
} Trap;

typedef struct {
  struct jpeg_decompress_struct jpeg;
  Trap trap;
  const struct Kernels *kernels;
  Buffer record, marks, segments, planes, between, seen, axes, rows;
} Decoder;

/* native.PIXELS: floats (value - shift) * factor, or bytes as they are. */
typedef struct { double shift[3], factor[3]; int64_t floats; } Pixels;

/* Where each of `count` pixels of a row comes from: pixel at[i] and, with weight/64, the one behind it. */
typedef struct {
  int count, groups, narrow; /* narrow: the 8 pixels of each group come from 16 bytes, so that a shuffle finds them */
  int32_t *at, *base;
  uint8_t *weight, *pairs, *shuffle; /* pairs: 64 - weight, weight */
} Axis;

/* A line of pixels through a plane: x + i dx, y + i dy, both held within 0..limit. */
typedef struct { float x, y, dx, dy, limit_x, limit_y; } Slant;

/* A pixel as a sum of `count` samples from `first` on. */
typedef struct { int first, count; float *weights; } Taps;

#define BAND 8 /* rows of a filtered view that are worked on at a time */

/* the variants of kernels.c */
typedef struct Kernels {
  int (*markers)(const uint8_t *data, size_t length, int most, uint32_t *at);
  void (*across)(const uint8_t *row, const Axis *axis, int16_t *out);
  void (*down)(const int16_t *upper, const int16_t *lower, int weight, const int16_t *bias, int count, uint8_t *out);
  void (*slanted)(const uint8_t *plane, int stride, const Slant *slant, int count, uint8_t *out);
  void (*emit)(uint8_t *const planes[3], int count, int ycc, int pixels, const int32_t hls[3], const Pixels *to,
               void *const out[3]);
  void (*add_row)(float *sum, const uint8_t *row, int count, float weight);
  void (*collect)(const float *sums, int pixels, int rows, const Taps *taps, int count, float *mixed, uint8_t *out);
  void (*moved)(const uint8_t *from, int stride, const Box *inside, const Row *row, uint8_t *out);
} Kernels;

extern const Kernels kernels_plain, kernels_avx2, kernels_avx512;

void set_trap(Trap *trap, j_common_ptr jpeg);
void watch_scans(Trap *trap, j_decompress_ptr jpeg);
int grow(Buffer *buffer, size_t bytes);
int fail(Decoder *decoder, const char *why);
int walk_head(const uint8_t *data, size_t length, Head *head);
int read_head(const uint8_t *data, size_t length, Head *head);
int decode_part(Decoder *decoder, const Source *source, const Head *head, Box box, Planes *planes);
int sample(Decoder *decoder, const Kernels *kernels, const Planes *planes, const Step *step, const Row *row,
           uint8_t *const out[3]);

#endif
