#include "core/shared_library.h"

#include <dlfcn.h>

#include "core/error.h"

namespace hr {

SharedLibrary::SharedLibrary(const std::string& what, const std::vector<std::string>& names,
                             const std::string& next_step) {
  std::string reasons;
  for (const std::string& name : names) {
    handle_ = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) {
      name_ = name;
      return;
    }
    reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", ::dlerror());
  }
  fail("{} cannot be loaded ({}); {}", what, reasons, next_step);
}

void* SharedLibrary::symbol(const char* name) const {
  void* s = ::dlsym(handle_, name);
  check(s != nullptr, "{}: has no function {}; it is of another version than this program was built for", name_, name);
  return s;
}

}  // namespace hr
