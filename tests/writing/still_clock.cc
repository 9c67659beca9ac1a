// LD_PRELOADed into tools that write the time: theirs stands still, so that two runs write the
// same.
#include <sys/time.h>

#include <ctime>

namespace {
constexpr time_t now = 1'700'000'000;
}

extern "C" {
time_t time(time_t* result) noexcept {
  if (result != nullptr) *result = now;
  return now;
}
int gettimeofday(timeval* result, void*) noexcept {
  *result = {now, 0};
  return 0;
}
}  // extern "C"
