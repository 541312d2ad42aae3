// This file replaces the window in a build without SDL2.
#include "core/error.h"
#include "tools/predict/window.h"

namespace hr {

struct Window::State {};

bool has_window() { return false; }

Window::Window(std::string, std::function<void()>) {
  fail(
      "this build has no windows; install SDL2 (Debian: apt-get install libsdl2-dev), then configure and build again, "
      "or leave out --show");
}
Window::~Window() = default;
void Window::show(const Image&, PixelShape, bool, const std::function<bool()>&) {}
void Window::wait(const std::function<bool()>&) {}

}  // namespace hr
