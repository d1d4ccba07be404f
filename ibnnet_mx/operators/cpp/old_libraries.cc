// For wheels: functions that GCC's headers call and the libstdc++ of manylinux2014 lacks (GCC 4.8: GLIBCXX_3.4.19).
// All others come from the libstdc++ of the process. libmxnet.so uses it too, and strings pass between the two.

#include <new>
#include <sstream>
#include <stdexcept>
#include <string>

// glibc 2.32 has this variable, which tells libstdc++ that atomic operations are not needed. They always are here.
__asm__(
    ".section .rodata\n.globl __libc_single_threaded\n.hidden __libc_single_threaded\n"
    ".type __libc_single_threaded, @object\n.size __libc_single_threaded, 1\n"
    "__libc_single_threaded: .byte 0\n.text\n");

namespace std {

// GLIBCXX_3.4.20. The text comes without its numbers.
void __throw_out_of_range_fmt(const char* text, ...) { throw out_of_range(string(text)); }

// GLIBCXX_3.4.29
void __throw_bad_array_new_length() { throw bad_alloc(); }

// GLIBCXX_3.4.21
runtime_error::runtime_error(const char* text) : runtime_error(string(text)) {}

// GLIBCXX_3.4.23 and 3.4.26
template basic_string<char>::basic_string(const basic_string<char>&, size_t, const allocator<char>&);
template basic_ostringstream<char>::basic_ostringstream();

}  // namespace std
