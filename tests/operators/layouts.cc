// Compare the kernels of norms on one picture in three layouts: plain, channels last and in blocks.
// Prints the largest difference of float32 and of bfloat16, relative to the largest value. VARIANT: as for kernels.cc.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels.h"

namespace ibnnet {
namespace VARIANT {
extern const Kernels<float> of_float;
extern const Kernels<bfloat> of_bfloat;
}  // namespace VARIANT

namespace {

constexpr int64_t kChannels = 64, kPixels = 77;

// Convert a value to float.
float read(float value) { return value; }
float read(bfloat value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float result;
  memcpy(&result, &bits, 4);
  return result;
}

// Store a float as a value.
void write(float value, float* to) { *to = value; }
void write(float value, bfloat* to) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  *to = bits >> 16;
}

// A layout in rows of `lanes` channels; last: channels last.
struct Order {
  int lanes;
  bool last;

  // Return the place of pixel p of channel c.
  int64_t at(int64_t c, int64_t p) const {
    if (last) return p * kChannels + c;
    return c / lanes * lanes * kPixels + p * lanes + c % lanes;
  }

  // Return the shape of a row, and the place of the row whose first channel is c.
  Row row() const { return {kPixels, last ? kChannels : lanes, lanes}; }
  int64_t start(int64_t c) const { return last ? c : c * kPixels; }
};

template <typename T>
using Values = std::vector<T>;

// Return plain values in another layout.
template <typename T>
Values<T> arrange(const Values<T>& plain, const Order& order) {
  Values<T> result(plain.size());
  for (int64_t c = 0; c < kChannels; ++c)
    for (int64_t p = 0; p < kPixels; ++p) result[order.at(c, p)] = plain[c * kPixels + p];
  return result;
}

// The results of all kernels, in the plain layout.
template <typename T>
struct Results {
  Values<float> of_channels[4];  // mean, squares, sums, products
  Values<T> of_pixels[3];        // y, dx, dskip
};

// Run all kernels on plain[0] = x and skip, plain[1] = y and plain[2] = dy, with six coefficients k for each channel.
template <typename T>
Results<T> computed(const Kernels<T>& with, const Order& order, const Values<T>* plain, const Values<float>* k,
                    Mask mask) {
  Results<T> results;
  for (auto& values : results.of_channels) values.resize(kChannels);
  Values<T> x = arrange(plain[0], order), y = arrange(plain[1], order), dy = arrange(plain[2], order), made[3];
  for (auto& values : made) values.resize(x.size());
  for (int64_t c = 0; c < kChannels; c += order.lanes) {
    const int64_t o = order.start(c);
    const Affine a = {&k[0][c], &k[1][c], &k[2][c]};
    const Slope b = {&k[3][c], &k[4][c], &k[5][c]};
    with.moments(order.row(), &x[o], &results.of_channels[0][c], &results.of_channels[1][c]);
    with.apply(order.row(), a, mask != Mask::kNone, &x[o], &y[o], &made[0][o]);
    const Given<T> given = {&x[o], &y[o], &dy[o]};
    with.slopes(order.row(), a, mask, given, &results.of_channels[2][c], &results.of_channels[3][c]);
    with.gradient(order.row(), a, mask, b, given, &made[1][o], &made[2][o]);
  }
  for (int i = 0; i < 3; ++i) {
    results.of_pixels[i].resize(x.size());
    for (int64_t c = 0; c < kChannels; ++c)
      for (int64_t p = 0; p < kPixels; ++p) results.of_pixels[i][c * kPixels + p] = made[i][order.at(c, p)];
  }
  return results;
}

// Return the largest difference relative to the largest value.
template <typename V>
double difference(const V& one, const V& other) {
  double most = 0, largest = 1e-30;
  for (size_t i = 0; i < one.size(); ++i) {
    most = std::max(most, std::fabs(static_cast<double>(read(one[i])) - read(other[i])));
    largest = std::max(largest, std::fabs(static_cast<double>(read(other[i]))));
  }
  return most / largest;
}

// Return the largest difference among layouts, masks and results.
template <typename T>
double worst(const Kernels<T>& with) {
  srand(1);
  Values<T> plain[3];
  for (auto& values : plain) {
    values.resize(kChannels * kPixels);
    for (T& value : values) write(rand() % 2001 / 500.0f - 2, &value);
  }
  Values<float> k[6];
  for (auto& values : k) {
    values.resize(kChannels);
    for (float& value : values) value = rand() % 2001 / 1000.0f - 1;
  }
  double most = 0;
  for (const Mask mask : {Mask::kNone, Mask::kSign, Mask::kOutput}) {
    const Results<T> expected = computed(with, Order{1, false}, plain, k, mask);
    for (const Order order : {Order{8, true}, Order{16, true}, Order{32, true}, Order{8, false}, Order{16, false}}) {
      const Results<T> other = computed(with, order, plain, k, mask);
      for (int i = 0; i < 4; ++i) most = std::max(most, difference(other.of_channels[i], expected.of_channels[i]));
      for (int i = 0; i < 3; ++i) most = std::max(most, difference(other.of_pixels[i], expected.of_pixels[i]));
    }
  }
  return most;
}

}  // namespace
}  // namespace ibnnet

// Print both differences.
int main() {
  printf("%.3g %.3g\n", ibnnet::worst(ibnnet::VARIANT::of_float), ibnnet::worst(ibnnet::VARIANT::of_bfloat));
  return 0;
}
