// The functions of SDL2 that the window calls. The library is opened when a window is asked for, because it depends on
// those of the desktop, which a server does not have.
#pragma once
#define SDL_MAIN_HANDLED  // SDL shall not rename main().
#include <SDL2/SDL.h>

namespace hr {

struct Sdl {
// clang-format off
#define HR_SDL_FUNCTIONS(X) \
  X(SDL_InitSubSystem) X(SDL_QuitSubSystem) X(SDL_GetError) X(SDL_SetHint) X(SDL_GetCurrentVideoDriver) \
  X(SDL_GetDisplayUsableBounds) X(SDL_CreateWindow) X(SDL_DestroyWindow) X(SDL_CreateRenderer) \
  X(SDL_DestroyRenderer) X(SDL_CreateTexture) X(SDL_DestroyTexture) X(SDL_UpdateTexture) \
  X(SDL_RenderSetLogicalSize) X(SDL_RenderClear) X(SDL_RenderCopy) X(SDL_RenderPresent) X(SDL_WaitEventTimeout)
// clang-format on
#define HR_SDL_MEMBER(name) decltype(&::name) name = nullptr;  // NOLINT(bugprone-macro-parentheses): a declaration
  HR_SDL_FUNCTIONS(HR_SDL_MEMBER)
#undef HR_SDL_MEMBER

  // Returns the functions. Throws Error if the library is not installed or lacks one of them. Thread-safe.
  static const Sdl& get();
};

}  // namespace hr
