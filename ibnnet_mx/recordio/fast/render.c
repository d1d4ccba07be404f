/* What Python calls: headers, views, whole decoding, reading. All of it without the GIL. */
#include "fast.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define KEPT (64 << 20)  /* bytes of a buffer that outlive their picture */
#define PEEK 2048        /* bytes that most headers are shorter than */
#define MAGIC 0xced7230a /* a record's first word, see framing.py; the second is the length of what follows */

void trim(Decoder *decoder, size_t most);

/* The widest kernels that the processor has, at most `level`: 0 plain, 1 AVX2, 2 AVX-512. */
static int best(int level) {
#if defined(__x86_64__)
  int wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  int found = wide ? 2 : __builtin_cpu_supports("avx2") ? 1 : 0;
  return level < found ? level : found;
#else
  return level & 0;
#endif
}

static const Kernels *kernels_of(int level) {
#if defined(__x86_64__)
  const Kernels *all[] = {&kernels_plain, &kernels_avx2, &kernels_avx512};
  return all[best(level)];
#else
  return best(level) ? NULL : &kernels_plain;
#endif
}

EXPORT int fast_level(void) { return best(2); }

static int read_whole(int fd, int64_t offset, size_t length, uint8_t *out) {
  while (length > 0) {
    ssize_t some = pread(fd, out, length, offset);
    if (some < 0 && errno == EINTR) continue;
    if (some <= 0) return 0;
    length -= some, offset += some, out += some;
  }
  return 1;
}

/* The beginning of a source, all of it where it is in memory; 0: it cannot be read. */
static size_t beginning(const Source *source, uint8_t room[PEEK], const uint8_t **data) {
  *data = source->data ? source->data : room;
  if (source->data) return source->length;
  size_t some = source->length < PEEK ? source->length : PEEK;
  return read_whole(source->fd, source->offset + source->start, some, room) ? some : 0;
}

/* width, height, kind of each source, from its header; `why` (count, WHY), empty before, says what makes one BROKEN. */
EXPORT void fast_heads(Source *sources, int count, char *why) {
  for (int i = 0; i < count; i++, why += WHY) {
    Source *source = sources + i;
    Head head;
    uint8_t room[PEEK];
    const uint8_t *data;
    if (source->stride > 0 || source->kind == BROKEN) continue;
    size_t length = beginning(source, room, &data);
    source->kind = length < 2 || data[0] != 0xff || data[1] != 0xd8 ? FOREIGN : JPEG;
    if (length == 0 && !source->data) source->kind = UNREAD;
    if (source->kind != JPEG) continue;
    int whole = source->data ? read_head(data, length, &head) : walk_head(data, length, &head);
    source->width = head.width, source->height = head.height;
    if (whole < 0 && !source->data) {
      source->kind = UNREAD;
    } else if (whole <= 0) {
      snprintf(why, WHY, whole ? "is truncated" : "cannot be decoded");
    } else if ((int64_t)head.width * head.height > MAX_PIXELS) {
      snprintf(why, WHY, "has %dx%d pixels, more than %d are refused", head.width, head.height, MAX_PIXELS);
    }
    if (why[0]) source->kind = BROKEN;
  }
}

/* Gives a source that is in a file its data: just before it is decoded, so that the caches still hold it then. */
static int fetch(Decoder *decoder, Source *source) {
  uint32_t frame[2];
  size_t bytes = (size_t)source->start + source->length;
  if (!grow(&decoder->record, bytes)) return fail(decoder, "needs more memory than there is");
  if (!read_whole(source->fd, source->offset, bytes, decoder->record.at)) return fail(decoder, CHANGED);
  memcpy(frame, decoder->record.at, sizeof frame);
  if (frame[0] != MAGIC || frame[1] != bytes - sizeof frame) return fail(decoder, CHANGED);
  source->data = decoder->record.at + source->start;
  return 1;
}

static void reach(double low, double high, int limit, int *first, int *last) {
  *first = (int)fmin(fmax(floor(low) - 1, 0), limit - 1);
  *last = (int)fmax(fmin(floor(high) + 3, limit), *first + 1);
}

/* The pixels of a width x height picture that a step reads; at least one. */
static Box touched(const Step *step, int width, int height) {
  Box box;
  const double *m = step->matrix;
  double w = step->width - 1, h = step->height - 1;
  if (step->kind == WARP) {
    reach(m[2] + fmin(m[0], 0) * w + fmin(m[1], 0) * h, m[2] + fmax(m[0], 0) * w + fmax(m[1], 0) * h, width, &box.left,
          &box.right);
    reach(m[5] + fmin(m[3], 0) * w + fmin(m[4], 0) * h, m[5] + fmax(m[3], 0) * w + fmax(m[4], 0) * h, height, &box.top,
          &box.bottom);
    return box;
  }
  double fx = (double)(step->box[2] - step->box[0]) / step->full_width;
  double fy = (double)(step->box[3] - step->box[1]) / step->full_height;
  reach(step->box[0] + step->x * fx, step->box[0] + (step->x + w + 1) * fx, width, &box.left, &box.right);
  reach(step->box[1] + step->y * fy, step->box[1] + (step->y + h + 1) * fy, height, &box.top, &box.bottom);
  return box;
}

static Box join(Box a, Box b) {
  Box both = {a.left < b.left ? a.left : b.left, a.top < b.top ? a.top : b.top, a.right > b.right ? a.right : b.right,
              a.bottom > b.bottom ? a.bottom : b.bottom};
  return both;
}

static void planes_of(const Source *source, Planes *planes) {
  int width = source->width, height = source->height, stride = source->stride;
  uint8_t *at = (uint8_t *)source->data; /* which is only read */
  Planes found = {3, 0, 1, 1, 0, 0, width, height, width, height,
                  {at, at + (size_t)stride * height, at + 2 * (size_t)stride * height}, {stride, stride, stride}};
  *planes = found;
}

/* Whether a step can be carried out; geometry.py draws up no other. */
static int makes_sense(const Step *step) {
  int whole = step->width > 0 && step->height > 0 && (int64_t)step->width * step->height <= MAX_PIXELS;
  if (step->kind == WARP || !whole) return whole;
  return step->full_width > 0 && step->full_height > 0 && step->box[0] >= 0 && step->box[1] >= 0 &&
         step->box[2] > step->box[0] && step->box[3] > step->box[1];
}

static int open_part(Decoder *decoder, const Source *given, Box box, Planes *planes) {
  Source source = *given;
  Head head;
  if (source.stride > 0) {
    planes_of(&source, planes);
    return 1;
  }
  if (!source.data && !fetch(decoder, &source)) return 0;
  int whole = read_head(source.data, source.length, &head);
  if (whole != 1) return fail(decoder, whole ? "is truncated" : "cannot be decoded");
  if (head.width != source.width || head.height != source.height) return fail(decoder, CHANGED);
  return decode_part(decoder, &source, &head, box, planes);
}

static int planes_in(Buffer *buffer, int width, int height, uint8_t *at[3]) {
  size_t bytes = (size_t)width * (height + 1) + SLACK;
  if (!grow(buffer, 3 * bytes)) return 0;
  for (int k = 0; k < 3; k++) at[k] = buffer->at + k * bytes;
  return 1;
}

/* A row's first step, where it has one: a picture of its own, as large as the step says. */
static int prepare(Decoder *decoder, const Kernels *kernels, const Planes *planes, const Row *row, Planes *out) {
  const Step *step = &row->first;
  Row unmirrored = *row;
  Planes made = {planes->count, planes->ycc, 1, 1, 0, 0, step->width, step->height, step->width, step->height,
                 {NULL, NULL, NULL}, {step->width, step->width, step->width}};
  if (!planes_in(&decoder->between, step->width, step->height, made.at))
    return fail(decoder, "needs more memory than there is");
  *out = made;
  unmirrored.mirror = 0;
  return sample(decoder, kernels, planes, step, &unmirrored, made.at);
}

/* Whether a view only cuts RGB planes out, whole pixels from x and y on, counted from where the planes begin. */
static int is_shift(const Planes *planes, const Row *row, int *x, int *y) {
  const Step *step = &row->last;
  const double *m = step->matrix;
  if (planes->ycc || row->first.kind != NONE || row->hls[0] || row->hls[1] || row->hls[2]) return 0;
  if (step->kind == WARP) {
    *x = (int)m[2] - planes->x, *y = (int)m[5] - planes->y;
    return m[0] == 1 && m[1] == 0 && m[3] == 0 && m[4] == 1 && m[2] == (int)m[2] && m[5] == (int)m[5];
  }
  *x = step->box[0] + step->x - planes->x, *y = step->box[1] + step->y - planes->y;
  return step->kind == LINEAR && step->box[2] - step->box[0] == step->full_width &&
         step->box[3] - step->box[1] == step->full_height;
}

static int between(int x, int low, int high) { return x < low ? low : x > high ? high : x; }

static void shift(const Kernels *kernels, const Planes *planes, const Row *row, int x, int y, uint8_t *const seen[3]) {
  int width = row->last.width, height = row->last.height;
  Box inside = {between(-x, 0, width), between(-y, 0, height), 0, 0}; /* of the view, what is picture */
  inside.right = between(planes->width - x, inside.left, width);
  inside.bottom = between(planes->height - y, inside.top, height);
  for (int k = 0; k < 3; k++) {
    const uint8_t *from = planes->at[k] + (ptrdiff_t)(y + inside.top) * planes->stride[k] + x + inside.left;
    kernels->moved(from, planes->stride[k], &inside, row, seen[k]);
  }
}

static int view(Decoder *decoder, const Kernels *kernels, const Planes *planes, const Row *row, const Pixels *to,
                uint8_t *out) {
  Planes between;
  uint8_t *seen[3];
  int pixels = row->last.width * row->last.height, x, y;
  if (row->first.kind != NONE) {
    if (!prepare(decoder, kernels, planes, row, &between)) return 0;
    planes = &between;
  }
  if (!planes_in(&decoder->seen, row->last.width, row->last.height, seen))
    return fail(decoder, "needs more memory than there is");
  if (is_shift(planes, row, &x, &y))
    shift(kernels, planes, row, x, y, seen);
  else if (!sample(decoder, kernels, planes, &row->last, row, seen))
    return 0;
  size_t plane = (size_t)pixels * (to->floats ? sizeof(float) : 1);
  void *outs[3] = {out, out + plane, out + 2 * plane};
  kernels->emit(seen, planes->count, planes->ycc, pixels, row->hls, to, outs);
  return 1;
}

/* rows and out: (count, views); why (count, WHY), empty where all went well. BROKEN sources are passed over with the
   why that they have. out NULL: decodes what the rows need, and no more. */
EXPORT void fast_render(Decoder *decoder, const Source *sources, int count, const Row *rows, int views,
                        const Pixels *to, uint8_t *out, char *why, int level) {
  const Kernels *kernels = decoder->kernels = kernels_of(level);
  for (int i = 0; i < count; i++, rows += views, why += WHY) {
    const Source *source = sources + i;
    Planes planes;
    if (source->kind == BROKEN) continue;
    Box box = {source->width, source->height, 0, 0};
    int done = 1;
    for (int v = 0; v < views; v++)
      done &= makes_sense(&rows[v].last) && (rows[v].first.kind == NONE || makes_sense(&rows[v].first));
    for (int v = 0; done && v < views; v++) {
      const Step *step = rows[v].first.kind == NONE ? &rows[v].last : &rows[v].first;
      box = join(box, touched(step, source->width, source->height));
    }
    done = done ? open_part(decoder, source, box, &planes) : fail(decoder, "cannot be brought to that size");
    size_t bytes = 3 * (size_t)rows->last.width * rows->last.height * (to->floats ? sizeof(float) : 1);
    for (int v = 0; done && out && v < views; v++)
      done = view(decoder, kernels, &planes, rows + v, to, out + (i * (size_t)views + v) * bytes);
    if (!done) memcpy(why, decoder->trap.why, WHY);
    trim(decoder, KEPT);
  }
}

/* Decodes all of a JPEG; empty `why`: it is without fault. */
EXPORT void fast_check(Decoder *decoder, const Source *source, char *why) {
  Planes planes;
  Box box = {0, 0, source->width, source->height};
  decoder->kernels = kernels_of(2);
  int done = source->kind == JPEG ? open_part(decoder, source, box, &planes) : fail(decoder, "is no JPEG");
  snprintf(why, WHY, "%s", done ? "" : decoder->trap.why);
  trim(decoder, KEPT);
}
