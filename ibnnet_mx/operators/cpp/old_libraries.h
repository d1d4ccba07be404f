// For wheels: take the versions of libm's functions that glibc 2.17 has. build.py includes this before each file.

#pragma once

#ifdef __x86_64__
__asm__(".symver expf,expf@GLIBC_2.2.5");
#endif
