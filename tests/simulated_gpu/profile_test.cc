// A device that fails while it is profiled, which a real one cannot be made to do.
#include "core/profile.h"

#include <gtest/gtest.h>

#include <functional>

namespace hr {
namespace {

struct AtExit {
  std::function<void()> call;
  ~AtExit() { call(); }
};

TEST(Profile, ASpanThatCannotBeEndedLetsTheExceptionUnderWayPass) {
  const cuda::Stream stream = cuda::create_stream();
  Profile profile(true);
  profile.begin("outer", 1, 0, stream);
  std::string message;
  try {
    profile.begin("inner", 1, 0, stream);
    const AtExit end{[&] { profile.end(nullptr); }};  // recording an event on no stream is refused
    fail("the error to tell");
  } catch (const Error& e) {
    message = e.what();
  }
  EXPECT_EQ(message, "the error to tell");
  EXPECT_THROW(profile.finish(), Error) << "a span is open";
  profile.end(stream);
  EXPECT_THROW(profile.finish(), Error) << "times are missing";
  EXPECT_EQ(profile.finish().at("outer").launches, 1);
  cuda::destroy_stream(stream);
}

}  // namespace
}  // namespace hr
