// Libraries that are opened when they are first used. A program therefore starts without them and can report which one
// is missing.
#pragma once
#include <string>
#include <vector>

namespace hr {

class SharedLibrary {
 public:
  // Opens the first of `names` that the loader finds (in the program's own search path first). Throws Error with `what`
  // the library is for, each name with the loader's reason, and `next_step`.
  SharedLibrary(const std::string& what, const std::vector<std::string>& names, const std::string& next_step);
  // Throws Error if the library lacks the function, because it is of another version.
  void* symbol(const char* name) const;
  template <class Function>
  void bind(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(symbol(name));
  }

 private:
  std::string name_;
  void* handle_ = nullptr;  // Never closed, because code of the library may run until the program ends.
};

}  // namespace hr
