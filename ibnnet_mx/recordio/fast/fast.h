/* Pictures of records in C: from a JPEG to views, without Python, numpy or mxnet. Each thread has a Decoder of its own;
   there is no other state. */
#ifndef IBNNET_FAST_H
#define IBNNET_FAST_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>

#define EXPORT __attribute__((visibility("default")))

/* Larger pictures are refused by their header, before memory is asked for. */
#define MAX_PIXELS (1 << 27)
/* A progressive JPEG usually has 10 scans. Each costs a pass over the picture, so that large pictures may have fewer:
   all scans together may have MAX_WORK pixels. */
#define MAX_SCANS 100
#define MAX_WORK (10 * (int64_t)MAX_PIXELS)
/* Bytes behind a plane, after one more row, that the kernels may read but never use. */
#define SLACK 64
/* Bytes of an error's text, its final 0 included. */
#define WHY 120
/* Pixels around a box that the interpolation between chroma samples reads. */
#define MARGIN 2
/* Rows of a filtered view that are worked on at a time. */
#define BAND 8

/* native.py compares this text. */
#define CHANGED "is not what it was when the file was opened"
#define NO_MEMORY "needs more memory than there is"

/* Kinds of a payload. FOREIGN: not a JPEG; OpenCV decodes it. UNREAD: the header is longer than the bytes read so far.
 */
enum { JPEG = 0, FOREIGN = 1, BROKEN = 2, UNREAD = 3 };
/* Kinds of a step, as in geometry.py. */
enum { NONE = 0, WARP = 1, LINEAR = 2, AREA = 3 };
/* Instruction sets of the kernels, as in native.LEVELS. */
typedef enum { LEVEL_PLAIN = 0, LEVEL_AVX2 = 1, LEVEL_AVX512 = 2 } Level;
/* What the bytes of a header are. */
typedef enum { HEADER_WRONG, HEADER_WHOLE, HEADER_CUT_OFF } HeaderState;
/* The two directions of a picture, which are also indices: of Step.box, for instance. */
typedef enum { ACROSS = 0, DOWN = 1 } Direction;

/* geometry.STEP: from a picture to width x height pixels.
   WARP: pixel (x, y) is taken at (m0 x + m1 y + m2, m3 x + m4 y + m5), bilinear, the row's `fill` outside of the
   picture. LINEAR, AREA: the box (left, top, right, bottom) is brought to full_width x full_height; the step is the
   window at (x, y) of that. */
typedef struct {
  double matrix[6];
  int32_t box[4], kind, width, height, full_width, full_height, x, y, unused;
} Step;

/* geometry.ROW: a view. `first` may be NONE. hls: changes of hue, lightness and saturation in OpenCV's 8-bit units. */
typedef struct {
  Step first, last;
  int32_t mirror, hls[3], fill, unused;
} Row;

/* native.SOURCE: a JPEG of `length` bytes or, with stride > 0, decoded RGB planes with a row and SLACK behind them.
   Without data the JPEG is in a file, `start` bytes behind the beginning of its record at `offset`. Width and height
   are the upright picture's, unless `as_stored` says that its orientation is ignored. */
typedef struct {
  const uint8_t* data;
  int64_t length, offset;
  int32_t fd, start, width, height, stride, kind, as_stored, unused;
} Payload;

/* native.PIXELS: floats (value - shift) * factor, or bytes as they are. */
typedef struct {
  double shift[3], factor[3];
  int64_t floats;
} Pixels;

/* native.Task: all views of a slice of a batch. */
typedef struct {
  const Payload* payloads;             /* (count,) */
  const Row* rows;                     /* (count, views) */
  const Pixels* pixels;                /* one */
  uint8_t* out;                        /* (count, views, 3, height, width); NULL: decode, and give no pixels */
  char* why;                           /* (count, WHY): texts, empty where all went well */
  int32_t count, views, width, height; /* width and height of every view, in pixels */
  int32_t level, unused;               /* the highest Level to use */
} Task;

/* The header of a JPEG. */
typedef struct {
  int width, height;       /* pixels, as they are stored */
  int orientation;         /* of the EXIF, 1 to 8; 1: upright */
  int components;          /* 1: grey, 3: colours, 4: CMYK */
  int sub_x, sub_y;        /* pixels a chroma sample stands for, across and down */
  int interval;            /* MCUs from a restart marker to the next; 0: there are none */
  bool regular;            /* baseline or progressive Huffman, 8 bits, grey or 4:4:4, 4:2:2, 4:4:0, 4:2:0 */
  int segments;            /* restart intervals in a row of MCUs; 0: the JPEG cannot be cut */
  size_t size_at, scan_at; /* bytes before the height, and before the first scan's data */
} Header;

/* A rectangle of pixels; right and bottom are behind its last ones. */
typedef struct {
  int left, top, right, bottom;
} Box;

/* The decoded part of a picture. Chroma planes are smaller by sub_x and sub_y. (x, y): the picture's pixel at which the
   part begins, a multiple of both. */
typedef struct {
  int count; /* 1: grey, 3: colours */
  bool ycc;  /* YCbCr, else RGB */
  int sub_x, sub_y, x, y, width, height;
  int full_width, full_height; /* of the whole picture */
  uint8_t* at[3];
  int stride[3]; /* bytes from a row to the next */
} Planes;

/* Memory that is used again for the next picture. */
typedef struct {
  uint8_t* at;
  size_t room;
} Buffer;

/* The way out of libjpeg: its errors and warnings end the work, with their words in `why`. */
typedef struct {
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf escape;
  char why[WHY];
} Trap;

/* All that a thread needs. */
typedef struct {
  struct jpeg_decompress_struct jpeg;
  Trap trap;
  const struct Kernels* kernels;
  Buffer record, marks, segments, planes, turned, between, seen, axes, rows;
} Decoder;

/* A step that is carried out: on which planes, mirrored or not, with `fill` (0 to 255) outside of the picture. */
typedef struct {
  const Planes* planes;
  const Step* step;
  bool mirror;
  int fill;
} Sampling;

/* The two samples that each of `count` pixels of a row is taken from: at[i] and, with weight/64, the one behind it. */
typedef struct {
  int count, groups; /* groups: of 8 pixels, an even number */
  bool narrow;       /* the samples of each group lie within 16 bytes, so that one shuffle picks them */
  int32_t *at, *base;
  uint8_t *weight, *pairs, *shuffle; /* pairs: 64 - weight, weight */
} Axis;

/* A line of pixels through a plane: (x + i dx, y + i dy), each held within 0..limit. */
typedef struct {
  float x, y, dx, dy, limit_x, limit_y;
} Slant;

/* A pixel as a weighted sum of `count` samples from `first` on. */
typedef struct {
  int first, count;
  float* weights;
} Taps;

/* The inner loops of kernels.c, compiled for one instruction set. */
typedef struct Kernels {
  int (*markers)(const uint8_t* data, size_t length, int most, uint32_t* at);
  void (*across)(const uint8_t* row, const Axis* axis, int16_t* out);
  void (*down)(const int16_t* upper, const int16_t* lower, int weight, const int16_t* bias, int count, uint8_t* out);
  void (*slanted)(const uint8_t* plane, int stride, const Slant* slant, int count, uint8_t* out);
  void (*emit)(uint8_t* const planes[3], int count, bool ycc, int pixels, const int32_t hls[3], const Pixels* to,
               void* const out[3]);
  void (*add_row)(float* sum, const uint8_t* row, int count, float weight);
  void (*collect)(const float* sums, int pixels, int rows, const Taps* taps, int count, float* mixed, uint8_t* out);
  void (*moved)(const uint8_t* from, int stride, const Box* inside, const Row* row, uint8_t* out);
} Kernels;

extern const Kernels kernels_plain, kernels_avx2, kernels_avx512;

/* trap.c */
void set_trap(Trap* trap, j_common_ptr jpeg);
void watch_scans(Trap* trap, j_decompress_ptr jpeg);
/* decoder.c */
bool reserve(Buffer* buffer, size_t bytes);
void trim(Decoder* decoder, size_t most);
bool fail(Decoder* decoder, const char* why);
/* header.c */
HeaderState walk_header(const uint8_t* data, size_t length, Header* header);
HeaderState read_header(const uint8_t* data, size_t length, Header* header);
/* exif.c */
int exif_orientation(const uint8_t* segment, size_t length);
/* turn.c */
bool turn_planes(Decoder* decoder, int orientation, Planes* planes);
/* segments.c */
size_t cut_segments(Decoder* decoder, const Payload* payload, const Header* header, Box box, Planes* planes);
/* jpeg.c */
bool decode_part(Decoder* decoder, const Payload* payload, const Header* header, Box box, Planes* planes);
/* payload.c */
bool open_part(Decoder* decoder, const Payload* payload, Box box, Planes* planes);
/* sample.c */
bool sample(Decoder* decoder, const Sampling* sampling, uint8_t* const out[3]);

/* Return the smaller and the larger of two numbers, and a quotient rounded up. */
static inline int least(int a, int b) { return a < b ? a : b; }
static inline int most(int a, int b) { return a > b ? a : b; }
static inline int divide_up(int size, int by) { return (size + by - 1) / by; }
/* Return true if the rows of a stored picture with that orientation are columns of the upright one. */
static inline bool swaps_sides(int orientation) { return orientation > 4; }

#endif
