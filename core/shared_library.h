// Libraries that are looked up when first used, so that a program starts without them and can say what is missing.
#pragma once
#include <string>
#include <vector>

namespace hr {

class SharedLibrary {
 public:
  // Opens the first of `names` that the loader finds (the program's own search path first). Error: what it is for, each
  // name and the loader's reason, and `next_step`.
  SharedLibrary(const std::string& what, const std::vector<std::string>& names, const std::string& next_step);
  // Error: the library lacks the function (it is of another version).
  void* symbol(const char* name) const;
  template <class Function>
  void bind(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(symbol(name));
  }

 private:
  std::string name_;
  void* handle_ = nullptr;  // stays open: code of the library may run until the program ends
};

}  // namespace hr
