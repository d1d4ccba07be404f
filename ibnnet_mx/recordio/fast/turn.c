/* Turn a decoded picture upright, as the orientation in its EXIF says. In numbers of the EXIF, F is upright in 1:

       1       2       3       4       5         6         7         8

       ###     ###       #     #       #####     # #           #     #####
       ##       ##      ##     ##      # #       #####       # #       # #
       #         #     ###     ###     #                   #####         #       */
#include "fast.h"

/* Copy a plane of the stored picture to `out`, row by row of the upright picture. */
static void turn_plane(const Planes* stored, int k, int orientation, const Planes* turned) {
  ptrdiff_t across = 1, down = stored->stride[k];
  const uint8_t* from = stored->at[k];
  uint8_t* out = turned->at[k];
  if (swaps_sides(orientation)) {
    across = down;
    down = 1;
  }
  if (orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7) {
    from += across * (turned->width - 1);
    across = -across;
  }
  if (orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8) {
    from += down * (turned->height - 1);
    down = -down;
  }
  for (int y = 0; y < turned->height; y++, from += down, out += turned->stride[k])
    for (int x = 0; x < turned->width; x++) out[x] = from[x * across];
}

/* Turn the planes of a whole picture, of one sample a pixel. Return false without memory. */
bool turn_planes(Decoder* decoder, int orientation, Planes* planes) {
  bool swap = swaps_sides(orientation);
  Planes turned = *planes;
  turned.width = turned.full_width = swap ? planes->height : planes->width;
  turned.height = turned.full_height = swap ? planes->width : planes->height;
  size_t bytes = (size_t)turned.width * (turned.height + 1) + SLACK;
  if (!reserve(&decoder->turned, planes->count * bytes)) return fail(decoder, NO_MEMORY);
  for (int k = 0; k < planes->count; k++) {
    turned.at[k] = decoder->turned.at + k * bytes;
    turned.stride[k] = turned.width;
    turn_plane(planes, k, orientation, &turned);
  }
  *planes = turned;
  return true;
}
