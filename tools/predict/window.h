// A window that shows pictures as they are done (predict --show), by SDL2.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "data/formats/image.h"
#include "data/video/video_reader.h"

namespace hr {

class Window {
 public:
  // Opens SDL2 and checks that there is a display; the window itself appears with the first picture. All calls of SDL
  // are made by a thread of the window, so that it answers while the caller computes. `on_end` is called once by that
  // thread when the user presses q or Esc or closes the window. Throws Error with the next step if this build has no
  // SDL2, if the library is not installed, or if there is no display.
  Window(std::string title, std::function<void()> on_end);
  ~Window();
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;

  // Shows a picture whose pixels have the given shape, as large as the window allows, in place of the last one. If
  // `may_wait` is true and the user has pressed the space bar, the call waits until it is pressed again, until the
  // window is closed, or until `stop` returns true. After the end nothing is shown. Throws Error if SDL2 fails.
  void show(const Image& image, PixelShape pixel, bool may_wait, const std::function<bool()>& stop);
  // Waits until the user ends the window, or until `stop` returns true.
  void wait(const std::function<bool()>& stop);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Returns whether this build was made with SDL2's headers.
bool has_window();

}  // namespace hr
