"""The reader of C and C++ sources sees functions, their sizes, and statements that a comma joins."""

import pytest

from tests import c_sources
from tests.c_sources import Function

SOURCE = """
#define LOOP(x) \\
  for (;;) { x }
/* static int commented(void) { */
static int add(int a, const char* text) {
  if (text[0] == '{') return a; // }
  for (int i = 0, j = 1; i < j; i++) a += f(i, j);
  return a;
}
typedef struct { int x, y; } Point;
static const Point points[] = {{1, 2}, {3, 4}};
static Point none(void) { return (Point){.x = 0, .y = 0}; }
namespace outer {
template <typename T, int W>
void call(Map<int, T> map, void (*f)(int, int), T (&array)[2]) {
  each(map, [&](int a, int b) { f(a, b); });
}
class Size {
  explicit Size(int w, int h = 2) : width(w), height(h) {}
  int operator()(int a) const { return a; }
  int width, height;
};
const Op& entry = enter("text {", {call, none}).set([](const Attrs& attrs) { return 1; });
}  // namespace outer
"""


def test_functions_are_seen():
    assert [(f.name, f.lines, f.parameters) for f in c_sources.functions(SOURCE)] == [
        ('add', 5, 2),
        ('none', 1, 0),
        ('call', 4, 3),
        ('Size', 1, 2),
        ('operator()', 1, 1),
    ]


def test_long_functions_and_many_parameters_are_seen():
    body = '  a += 1;\n' * 49
    text = f'\n\nstatic int sum(int a, int b, int c,\n    int d, int e, int f, int g, int h, int i) {{\n{body}}}\n'
    assert list(c_sources.functions(text)) == [Function('sum', 3, 52, 9)]


@pytest.mark.parametrize(
    'statement',
    [
        'a = 1, b = 2;',
        'out->at(X) = 1, out->at(Y) = 2;',
        'if (a > 0) a--, b = f(a, b);',
        'for (int i = 0; i < 3; i++) s[i] = 1, t[i] = 2;',
        '*x = 1, *y = 2;',
        'take(k, 0), take(k + 1, 1);',
    ],
)
def test_joined_statements_are_seen(statement):
    assert [line for line, _ in c_sources.joined_statements(f'void f(int a, int b) {{\n  {statement}\n}}\n')] == [2]


@pytest.mark.parametrize(
    'statement',
    [
        'int a = 1, b = 2;',
        'const float *x = f(a, b), *y = {1, 2};',
        'f(a, b);',
        'for (i = 0, j = 1; i < j; i++, j--) f(i, j);',
    ]
    + ['x = (Point){.x = 1, .y = 2};', 'std::vector<int> a = {1, 2};', 'return g<int, 3>(a, b);'],
)
def test_declarations_and_calls_are_no_joined_statements(statement):
    assert list(c_sources.joined_statements(f'void f(int a, int b) {{\n  {statement}\n}}\n')) == []
