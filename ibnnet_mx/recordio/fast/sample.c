/* From decoded planes to a view, or to the picture between its two steps.

   Places are counted in pixels of the whole picture; a pixel's centre has a whole number. A step reads the box.
   Only what the box touches is decoded: rows of MCUs (jpeg.c) or, with restart markers, segments of them (segments.c).
   So the planes begin at the picture's pixel (planes->x, planes->y):

       (0, 0)                                        full_width
         +----------------------------------------------+
         |                 not decoded                  |
         |       (x, y)                                 |
         |          + - - - - - - - - - - - - +         |
         |          :       decoded           :         |
         |          :      +-----------+      :         |      o  a pixel of the view: its place lies between four
         |          :      |  the box  |      : height  |         samples of the planes
         |          :      |     o     |      :         |
         |          :      +-----------+      :         |
         |          + - - - - - - - - - - - - +         |
         |                    width                     |
         +----------------------------------------------+
       full_height

   A chroma plane may have half the samples. A sample lies in the middle of the pixels that it stands for. So the pixel
   p is at (p - origin + 0.5) / sub - 0.5 among the samples. With origin 0 and sub 2:

       pixels (luma)      0     1     2     3     4     5     6     7
                          |     |     |     |     |     |     |     |
       samples (chroma)      0           1           2           3
                          |     |
                          |     +-- pixel 1 is at sample 0.25: 3/4 of sample 0 and 1/4 of sample 1
                          +-------- pixel 0 is at sample -0.25: held within the plane, all of sample 0

   There are three cases; x are samples of a plane, o pixels of the view:

       straight.c    x o  x  o x   o x     The pixels of a row lie in one line of the plane. Two passes, across
                     x o  x  o x   o x     and down. For warps along the axes, and pictures in their own size.

       slanted.c     x    x    x o  x      A row of the view is a slanted line, so that each pixel has four samples of
                     x    x o  x    x      its own. For all other warps.
                     x o  x    x    x

       filter.c      x [x  o  x] [x  o     A pixel is the weighted sum of all samples that it covers. For boxes in
                     x [x     x] [x        another size.

   In the first two cases weights are multiples of 1/64. */
#include "sample.h"

/* Return true if a step leaves the size of the pixels alone. */
static bool in_its_own_size(const Step* step) {
  return step->kind == LINEAR && step->box[2] - step->box[0] == step->full_width &&
         step->box[3] - step->box[1] == step->full_height;
}

/* Carry out a step: width x height bytes in each plane of `out`, which has SLACK behind them. */
bool sample(Decoder* decoder, const Sampling* sampling, uint8_t* const out[3]) {
  const Step* step = sampling->step;
  if (step->kind != WARP && !in_its_own_size(step)) return sample_filtered(decoder, sampling, out);
  if (step->kind != WARP || (step->matrix[1] == 0 && step->matrix[3] == 0))
    return sample_straight(decoder, sampling, out);
  sample_slanted(decoder->kernels, sampling, out);
  return true;
}
