// Trains a network of one's own: here one that learns to see edges in random pictures. Link hrnet::hrnet.
#include <hrnet/hrnet.h>

#include <cmath>
#include <cstdio>
#include <random>

struct Edges : hr::Model {  // [N, H, W, 1] -> [N, H, W, 1]
  hr::ConvBn a{*this, "a", {.in = 1, .out = 16}};
  hr::Conv b{*this, "b", {.in = 16, .out = 1}};
  hr::Tensor operator()(hr::Context& cx, const hr::Tensor& x) { return b(cx, a(cx, x, {.relu = true})); }
};

int main() {
  hr::Context cx;  // the CPU
  Edges net;
  net.init(cx, /*seed=*/1);
  hr::Adam adam(net, {.lr = 1e-2});
  hr::TrainStep step(cx, adam, [&](hr::Context& c, hr::Inputs in) { return hr::mse(c, net(c, in["x"]), in["y"]); });

  constexpr int n = 8, side = 16;
  std::vector<float> x(n * side * side), y(x.size());
  std::mt19937 random(1);
  double first = 0, loss = 0;
  for (int i = 0; i < 300; ++i) {
    for (float& pixel : x) pixel = static_cast<float>(random() % 256) / 255;  // <-- your data
    for (size_t k = 0; k < x.size(); ++k) y[k] = k % side == 0 ? x[k] : std::abs(x[k] - x[k - 1]);
    loss = step({{x, {n, side, side, 1}, "x"}, {y, {n, side, side, 1}, "y"}});
    if (i == 0) first = loss;
    if (i % 50 == 0 || i == 299) std::printf("step %3d  loss %.5f\n", i, loss);
  }
  hr::save_weights("edges.safetensors", net);
  return loss < first / 10 ? 0 : 1;
}
