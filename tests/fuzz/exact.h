/* Put before every source of the sanitized build: the C reader's buffers end where what was asked for ends, instead of
   at the next 4096 bytes, and an inaccessible page follows, so that libjpeg, which is not watched, cannot write too far
   unseen. They begin filled with a byte that the fuzzer changes: pixels that were never written differ between runs. */
#ifndef IBNNET_FUZZ_EXACT_H
#define IBNNET_FUZZ_EXACT_H

#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096)
#define HELD 1024         /* buffers at a time */
#define FILLED (1 << 23)  /* bytes; to fill large ones whole would take its time */

__attribute__((weak, visibility("default"))) unsigned char fuzz_fill;

static struct { char *at, *base; size_t bytes; } held_buffers[HELD];
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;

static inline void *guarded(size_t alignment, size_t size) {
  size_t rounded = (size + alignment - 1) / alignment * alignment, room = (rounded + PAGE - 1) / PAGE * PAGE;
  char *base = mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return NULL;
  mprotect(base + room, PAGE, PROT_NONE);
  char *at = base + room - rounded;
  memset(at, fuzz_fill, size < FILLED ? size : FILLED);
  ASAN_POISON_MEMORY_REGION(base, room - rounded);
  ASAN_POISON_MEMORY_REGION(at + size, rounded - size);
  pthread_mutex_lock(&held_lock);
  int i = 0;
  while (held_buffers[i].at) i++;
  held_buffers[i].at = at, held_buffers[i].base = base, held_buffers[i].bytes = room + PAGE;
  pthread_mutex_unlock(&held_lock);
  return at;
}

static inline void released(void *at) {
  pthread_mutex_lock(&held_lock);
  for (int i = 0; at && i < HELD; i++)
    if (held_buffers[i].at == at) {
      ASAN_UNPOISON_MEMORY_REGION(held_buffers[i].base, held_buffers[i].bytes);
      munmap(held_buffers[i].base, held_buffers[i].bytes);
      held_buffers[i].at = at = NULL;
    }
  pthread_mutex_unlock(&held_lock);
  free(at);
}

/* grow() rounds `bytes` up to buffer->room, which is what it asks for here: that becomes `bytes` again. */
#define aligned_alloc(alignment, room) guarded(alignment, (room) = bytes)
#define free(at) released(at)

#endif
