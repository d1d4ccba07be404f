/* Memory for the sanitized build, put before each of its sources. The C reader's buffers end where the request ends,
   instead of at the next 4096 bytes. An inaccessible page follows, so that libjpeg, which is not watched, cannot write
   too far unseen:

       base                       at                 at + size                base + room
         |  poisoned               |  the buffer       |  poisoned              |  inaccessible page  |

   Buffers begin filled with a byte that the fuzzer changes: pixels that were never written differ between runs. */
#ifndef IBNNET_FUZZ_EXACT_H
#define IBNNET_FUZZ_EXACT_H

#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096)
#define MAX_BUFFERS 1024     /* at a time */
#define MAX_FILLED (1 << 23) /* bytes; to fill large buffers whole would take too long */

__attribute__((weak, visibility("default"))) unsigned char fuzz_fill;

/* The buffers in use; at is NULL in a free entry. */
static struct {
  char *at, *base;
  size_t bytes;
} buffers_in_use[MAX_BUFFERS];
static pthread_mutex_t buffers_lock = PTHREAD_MUTEX_INITIALIZER;

/* Return a buffer as aligned_alloc() does. */
static inline void* guarded(size_t alignment, size_t size) {
  size_t rounded = (size + alignment - 1) / alignment * alignment, room = (rounded + PAGE - 1) / PAGE * PAGE;
  char* base = mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return NULL;
  mprotect(base + room, PAGE, PROT_NONE);
  char* at = base + room - rounded;
  memset(at, fuzz_fill, size < MAX_FILLED ? size : MAX_FILLED);
  ASAN_POISON_MEMORY_REGION(base, room - rounded);
  ASAN_POISON_MEMORY_REGION(at + size, rounded - size);
  pthread_mutex_lock(&buffers_lock);
  int i = 0;
  while (buffers_in_use[i].at) i++;
  buffers_in_use[i].at = at;
  buffers_in_use[i].base = base;
  buffers_in_use[i].bytes = room + PAGE;
  pthread_mutex_unlock(&buffers_lock);
  return at;
}

/* Free a buffer of guarded(), or of malloc(). */
static inline void released(void* at) {
  pthread_mutex_lock(&buffers_lock);
  for (int i = 0; at && i < MAX_BUFFERS; i++) {
    if (buffers_in_use[i].at != at) continue;
    ASAN_UNPOISON_MEMORY_REGION(buffers_in_use[i].base, buffers_in_use[i].bytes);
    munmap(buffers_in_use[i].base, buffers_in_use[i].bytes);
    buffers_in_use[i].at = NULL;
    at = NULL;
  }
  pthread_mutex_unlock(&buffers_lock);
  free(at);
}

/* reserve() rounds `bytes` up to buffer->room, which it asks for here. Ask for `bytes`, and note that as the room. */
#define aligned_alloc(alignment, room) guarded(alignment, (room) = bytes)
#define free(at) released(at)

#endif
