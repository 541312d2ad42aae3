#include "tools/predict/window.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>

#include "core/error.h"
#include "core/shared_library.h"
#include "core/threads.h"
#include "tools/predict/sdl.h"

namespace hr {
namespace {

// The thread looks for a new picture, and waiting callers ask whether to stop, this often.
constexpr int kPollMs = 15;
constexpr int kMostSide = 4096;  // A larger picture is reduced first, since textures have a largest size.

void bind(const SharedLibrary& library, Sdl& s) {
#define HR_SDL_BIND(name) library.bind(s.name, #name);
  HR_SDL_FUNCTIONS(HR_SDL_BIND)
#undef HR_SDL_BIND
}

// Returns every k-th pixel of every k-th row, with the smallest k for which both sides fit.
Image reduced(const Image& image, int most) {
  const int k = (std::max(image.width, image.height) + most - 1) / most;
  if (k <= 1) return image;
  Image small(std::max(image.width / k, 1), std::max(image.height / k, 1));
  for (int y = 0; y < small.height; ++y) {
    for (int x = 0; x < small.width; ++x)
      std::memcpy(small.at(x, y), image.at(std::min(x * k, image.width - 1), std::min(y * k, image.height - 1)), 3);
  }
  return small;
}

[[noreturn]] void no_display(const std::string& why) {
  fail("there is no display to show a window on ({}); log in to a desktop, or leave out --show", why);
}

}  // namespace

const Sdl& Sdl::get() {
  static const Sdl functions = [] {
    const SharedLibrary library("SDL2", {"libSDL2-2.0.so.0"},
                                "install it (Debian: apt-get install libsdl2-2.0-0), or leave out --show");
    Sdl s;
    bind(library, s);
    return s;
  }();
  return functions;
}

bool has_window() { return true; }

struct Window::State {
  const std::string title;
  const std::function<void()> on_end;
  const Sdl& sdl;

  // The mutex guards these members, which the thread and the callers share.
  std::mutex mutex;
  std::condition_variable changed;
  Image next;  // The picture to be shown next; empty if the newest one is on the screen.
  PixelShape next_pixel;
  bool ready = false;   // SDL has been started, or has failed to.
  bool paused = false;  // The user has pressed the space bar.
  bool ended = false;   // The user has ended the window, or SDL has failed.
  bool leaving = false;
  FirstException error;

  // Only the thread uses these members.
  SDL_Window* window = nullptr;
  SDL_Renderer* renderer = nullptr;
  SDL_Texture* texture = nullptr;
  int width = 0, height = 0;  // Of the texture.

  ThreadTeam thread;

  State(std::string name, std::function<void()> end)
      : title(std::move(name)), on_end(std::move(end)), sdl(Sdl::get()) {}

  [[noreturn]] void failed(const char* what) const { fail("{}: {}", what, sdl.SDL_GetError()); }
  void start();
  void run();
  void loop();
  void take_events();
  void end();
  void open(const Image& image, PixelShape pixel);
  void draw(const Image& image, PixelShape pixel);
  void set_title() const;
};

void Window::State::start() {
  // Ctrl-C is handled by the program, and the computer may sleep if nobody touches it.
  sdl.SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
  sdl.SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
  // Without these variables SDL would try the libraries of both desktops, which print messages of their own.
  const bool named = std::getenv("DISPLAY") != nullptr || std::getenv("WAYLAND_DISPLAY") != nullptr;
  if (!named && std::getenv("SDL_VIDEODRIVER") == nullptr) no_display("DISPLAY and WAYLAND_DISPLAY are not set");
  if (sdl.SDL_InitSubSystem(SDL_INIT_VIDEO) != 0) no_display(sdl.SDL_GetError());
  // SDL falls back on drivers that show nothing. They are accepted only when they are asked for.
  const char* driver = sdl.SDL_GetCurrentVideoDriver();
  const std::string_view name = driver != nullptr ? driver : "";
  if (std::getenv("SDL_VIDEODRIVER") == nullptr && (name == "offscreen" || name == "dummy" || name == "evdev")) {
    sdl.SDL_QuitSubSystem(SDL_INIT_VIDEO);
    no_display("neither X11 nor Wayland answers");
  }
}

// Makes the window, as large as the picture if that fits on the display.
void Window::State::open(const Image& image, PixelShape pixel) {
  SDL_Rect room{0, 0, 1280, 720};
  sdl.SDL_GetDisplayUsableBounds(0, &room);
  const double w = static_cast<double>(image.width) * pixel.width / pixel.height, h = image.height;
  const double scale = std::min({1.0, 0.95 * room.w / w, 0.9 * room.h / h});
  const auto side = [&](double length) { return std::max(static_cast<int>(length * scale), 64); };
  window = sdl.SDL_CreateWindow(title.c_str(), SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED, side(w), side(h),
                                SDL_WINDOW_RESIZABLE);
  if (window == nullptr) failed("a window cannot be opened");
  sdl.SDL_SetHint(SDL_HINT_RENDER_SCALE_QUALITY, "linear");
  renderer = sdl.SDL_CreateRenderer(window, -1, 0);
  if (renderer == nullptr) renderer = sdl.SDL_CreateRenderer(window, -1, SDL_RENDERER_SOFTWARE);
  if (renderer == nullptr) failed("nothing can be drawn in a window");
}

void Window::State::draw(const Image& image, PixelShape pixel) {
  if (window == nullptr) open(image, pixel);
  if (texture == nullptr || width != image.width || height != image.height) {
    if (texture != nullptr) sdl.SDL_DestroyTexture(texture);
    width = image.width;
    height = image.height;
    texture = sdl.SDL_CreateTexture(renderer, SDL_PIXELFORMAT_RGB24, SDL_TEXTUREACCESS_STREAMING, width, height);
    if (texture == nullptr) failed("a picture cannot be shown");
  }
  if (sdl.SDL_UpdateTexture(texture, nullptr, image.rgb.data(), width * 3) != 0) failed("a picture cannot be shown");
  // The renderer scales the picture into the window and leaves black bars where their shapes differ.
  const int64_t w = static_cast<int64_t>(width) * pixel.width, h = static_cast<int64_t>(height) * pixel.height;
  const double fit = std::min(1.0, 16384.0 / static_cast<double>(std::max(w, h)));
  sdl.SDL_RenderSetLogicalSize(renderer, std::max(static_cast<int>(static_cast<double>(w) * fit), 1),
                               std::max(static_cast<int>(static_cast<double>(h) * fit), 1));
}

void Window::State::end() {
  {
    const std::lock_guard lock(mutex);
    if (ended) return;
    ended = true;
  }
  changed.notify_all();
  on_end();
}

void Window::State::take_events() {
  SDL_Event event;
  for (int wait = kPollMs; sdl.SDL_WaitEventTimeout(&event, wait) != 0; wait = 1) {
    if (event.type == SDL_QUIT) end();
    if (event.type != SDL_KEYDOWN || event.key.repeat != 0) continue;
    const SDL_Keycode key = event.key.keysym.sym;
    if (key == SDLK_q || key == SDLK_ESCAPE) end();
    if (key == SDLK_SPACE) {
      {
        const std::lock_guard lock(mutex);
        paused = !paused;
      }
      changed.notify_all();
    }
  }
}

void Window::State::loop() {
  for (;;) {
    take_events();
    Image image;
    PixelShape pixel;
    {
      const std::lock_guard lock(mutex);
      // The last picture appears even if the window is left at once.
      if (ended || (leaving && next.empty())) return;
      std::swap(image, next);
      pixel = next_pixel;
    }
    if (!image.empty()) draw(image, pixel);
    if (texture == nullptr) continue;
    sdl.SDL_RenderClear(renderer);
    sdl.SDL_RenderCopy(renderer, texture, nullptr, nullptr);
    sdl.SDL_RenderPresent(renderer);
  }
}

void Window::State::run() {
  bool started = false;
  try {
    start();
    started = true;
    {
      const std::lock_guard lock(mutex);
      ready = true;
    }
    changed.notify_all();
    loop();
  } catch (...) {
    error.keep();
  }
  {
    const std::lock_guard lock(mutex);
    ready = ended = true;
  }
  changed.notify_all();
  if (texture != nullptr) sdl.SDL_DestroyTexture(texture);
  if (renderer != nullptr) sdl.SDL_DestroyRenderer(renderer);
  if (window != nullptr) sdl.SDL_DestroyWindow(window);
  if (started) sdl.SDL_QuitSubSystem(SDL_INIT_VIDEO);
}

Window::Window(std::string title, std::function<void()> on_end)
    : state_(std::make_unique<State>(std::move(title), std::move(on_end))) {
  State& s = *state_;
  s.thread.start(
      1,
      [&s] {
        unpin_this_thread();
        s.run();
      },
      [](const std::exception_ptr&) {});
  std::unique_lock lock(s.mutex);
  s.changed.wait(lock, [&] { return s.ready; });
  if (!s.ended) return;
  lock.unlock();
  s.thread.join();
  s.error.rethrow();
}

Window::~Window() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->leaving = true;
  }
  state_->thread.join();
}

void Window::show(const Image& image, PixelShape pixel, bool may_wait, const std::function<bool()>& stop) {
  State& s = *state_;
  Image small = reduced(image, kMostSide);
  std::unique_lock lock(s.mutex);
  if (s.error.any()) s.error.rethrow();
  s.next = std::move(small);
  s.next_pixel = pixel;
  const auto going_on = [&] { return s.ended || !s.paused || stop(); };
  while (may_wait && !going_on()) s.changed.wait_for(lock, std::chrono::milliseconds(kPollMs));
}

void Window::wait(const std::function<bool()>& stop) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  while (!s.ended && !stop()) s.changed.wait_for(lock, std::chrono::milliseconds(kPollMs));
}

}  // namespace hr
