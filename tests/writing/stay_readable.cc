// LD_PRELOADed into peelfs so that strace can read the paths it passes, for other users than root:
// it keeps its memory, with keys in it, from the processes of its user.
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdarg>

extern "C" int prctl(int option, ...) noexcept {
  va_list arguments;
  va_start(arguments, option);
  const unsigned long a = va_arg(arguments, unsigned long);
  const unsigned long b = va_arg(arguments, unsigned long);
  const unsigned long c = va_arg(arguments, unsigned long);
  const unsigned long d = va_arg(arguments, unsigned long);
  va_end(arguments);
  if (option == PR_SET_DUMPABLE) return 0;
  return static_cast<int>(syscall(SYS_prctl, option, a, b, c, d));
}
