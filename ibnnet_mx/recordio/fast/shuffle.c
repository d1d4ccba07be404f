/* The order of a shuffled epoch, draw for draw that of numpy's Generator(Philox(key)).shuffle().

   Position i, from the last one down, changes places with one of 0..i. Of the draws, which are 32 bits wide, those that
   are above i behind the mask of i are thrown away.

   The places lie all over the memory, and each would be waited for. The draws do not depend on the positions, so those
   of a BLOCK are made first, and their places are called into the cache meanwhile. */
#include "fast.h"

#include <string.h>

#define BLOCK 128
#define ROUNDS 10

/* Philox4x64-10 (Salmon et al. 2011), which gives four words for each value of a counter. */
typedef struct {
  uint64_t key[2], counter, words[4];
  int next; /* of the eight halves of `words`, the lower half of a word first */
} Philox;

static void refill(Philox* source) {
  uint64_t a = ++source->counter, b = 0, c = 0, d = 0, left = source->key[0], right = source->key[1];
  for (int round = 0; round < ROUNDS; round++) {
    unsigned __int128 first = (unsigned __int128)a * 0xD2E7470EE14C6C93u;
    unsigned __int128 second = (unsigned __int128)c * 0xCA5A826395121157u;
    a = (uint64_t)(second >> 64) ^ b ^ left;
    b = (uint64_t)second;
    c = (uint64_t)(first >> 64) ^ d ^ right;
    d = (uint64_t)first;
    left += 0x9E3779B97F4A7C15u;
    right += 0xBB67AE8584CAA73Bu;
  }
  memcpy(source->words, (uint64_t[]){a, b, c, d}, sizeof source->words);
  source->next = 0;
}

static inline uint32_t draw(Philox* source) {
  if (source->next == 8) refill(source);
  int half = source->next++;
  return (uint32_t)(source->words[half >> 1] >> 32 * (half & 1));
}

/* Shuffle positions int32 (count,), by key uint64 (2,). */
EXPORT void fast_shuffle(int32_t* positions, int32_t count, const uint64_t* key) {
  Philox source = {.key = {key[0], key[1]}, .next = 8};
  uint32_t places[BLOCK];
  for (int32_t last = count - 1; last > 0;) {
    int many = last < BLOCK ? last : BLOCK;
    for (int k = 0; k < many; k++) {
      uint32_t most = (uint32_t)(last - k), mask = 0xffffffffu >> __builtin_clz(most);
      do places[k] = draw(&source) & mask;
      while (places[k] > most);
      __builtin_prefetch(positions + places[k], 1);
    }
    for (int k = 0; k < many; k++, last--) {
      int32_t moved = positions[last];
      positions[last] = positions[places[k]];
      positions[places[k]] = moved;
    }
  }
}
