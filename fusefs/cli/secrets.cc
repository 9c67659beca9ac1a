#include "cli/secrets.h"

#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include "host/file_identity.h"
#include "host/output_file.h"
#include "mount/descriptors.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

constexpr std::size_t kMostBytes = 8U << 20;  // what cryptsetup allows a key file to have

/// Everything that can be read from a descriptor. The bytes never lie in memory that is not wiped.
Secret read_all(int fd, const std::string& what) {
  if (const auto file = identity_of(fd)) note_input(*file);
  Secret secret(4096);
  std::size_t used = 0;
  for (;;) {
    if (used > kMostBytes) {
      throw Error(Fault::usage, what + ": too long for a key")
          .found("more than 8 MiB")
          .advice("is it the right file?");
    }
    if (used == secret.size()) {
      Secret larger(secret.size() * 4);
      std::memcpy(larger.writable().data(), secret.bytes().data(), used);
      secret = std::move(larger);
    }
    const ssize_t got = ::read(fd, secret.writable().data() + used, secret.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error::system(errno, "cannot read " + what);
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  if (used == 0) throw Error(Fault::usage, what + ": it is empty, so there is no key in it");
  return Secret(secret.bytes().first(used));
}

Secret read_path(const std::string& path) {
  if (path == "-") return read_all(STDIN_FILENO, "the key on standard input");
  const std::string what = "key file " + printable(path);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) throw Error::system(errno, "cannot open " + what);
  const std::unique_ptr<const int, void (*)(const int*)> closer(&fd,
                                                                [](const int* f) { ::close(*f); });
  return read_all(fd, what);
}

Secret read_descriptor(int fd) {
  Secret secret = read_all(fd, "key on descriptor " + std::to_string(fd));
  close_inherited(fd);
  return secret;
}

Secret take_variable(const std::string& name) {
  char* value = ::getenv(name.c_str());
  if (value == nullptr) {
    throw Error(Fault::usage, "--key: there is no environment variable '" + printable(name) + "'");
  }
  const std::size_t length = std::strlen(value);
  if (length == 0) {
    throw Error(Fault::usage, "--key: the variable '" + printable(name) + "' is empty");
  }
  Secret secret{Bytes(reinterpret_cast<const std::byte*>(value), length)};
  // unsetenv alone leaves the bytes where /proc/PID/environ shows them.
  ::explicit_bzero(value, length);
  ::unsetenv(name.c_str());
  return secret;
}

Secret read_origin(const KeyOrigin& origin) {
  switch (origin.kind) {
    case KeyOrigin::Kind::descriptor:
      return read_descriptor(origin.descriptor);
    case KeyOrigin::Kind::environment:
      return take_variable(origin.place);
    case KeyOrigin::Kind::file:
      break;
  }
  return read_path(origin.place);
}

Secret volume_key_of(const Secret& bytes, const KeyOrigin& origin) {
  if (auto key = volume_key_in(bytes.bytes())) return *std::move(key);
  throw Error(Fault::usage, "--volume-key: " + origin_text(origin) + " can be no volume key")
      .found(std::to_string(bytes.size()) + " bytes")
      .expected("16 to 512 bytes, or their hexadecimal digits and nothing else")
      .advice("'cryptsetup luksDump --dump-volume-key --volume-key-file FILE' writes one");
}

/// @return the end of a pipe that holds the bytes and then ends
int in_a_pipe(const Secret& secret) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw Error::system(errno, "cannot make a pipe");
  // An environment variable is at most 128 KiB long; a pipe holds 64 KiB unless asked for more.
  ::fcntl(ends[1], F_SETPIPE_SZ, 256 << 10);
  const ssize_t put = ::write(ends[1], secret.bytes().data(), secret.size());
  ::close(ends[1]);
  if (put != static_cast<ssize_t>(secret.size())) {
    ::close(ends[0]);
    throw Error(Fault::usage, "a key in an environment variable is too long")
        .found(std::to_string(secret.size()) + " bytes")
        .advice("give it with --key NAME=file:PATH");
  }
  return ends[0];
}

}  // namespace

std::string origin_text(const KeyOrigin& origin) {
  const std::string key = origin.is == KeyKind::volume_key ? "the volume key" : "the key";
  switch (origin.kind) {
    case KeyOrigin::Kind::descriptor:
      return key + " of descriptor " + std::to_string(origin.descriptor);
    case KeyOrigin::Kind::environment:
      return key + " in variable " + printable(origin.place);
    case KeyOrigin::Kind::file:
      break;
  }
  return origin.place == "-" ? key + " on standard input" : key + " in " + printable(origin.place);
}

void take_from_environment(std::vector<KeyOrigin>& origins) {
  std::map<std::string, int> taken;
  for (KeyOrigin& origin : origins) {
    if (origin.kind != KeyOrigin::Kind::environment) continue;
    auto found = taken.find(origin.place);
    if (found == taken.end()) {
      found = taken.emplace(origin.place, in_a_pipe(take_variable(origin.place))).first;
    }
    origin.kind = KeyOrigin::Kind::descriptor;
    origin.descriptor = found->second;
    origin.place = std::to_string(found->second);
  }
}

std::vector<NamedKey> read_keys(const std::vector<KeyOrigin>& origins) {
  std::map<std::pair<KeyOrigin::Kind, std::string>, Secret> seen;
  std::vector<NamedKey> keys;
  for (const KeyOrigin& origin : origins) {
    const auto identity = std::make_pair(origin.kind, origin.place);
    auto found = seen.find(identity);
    if (found == seen.end()) found = seen.emplace(identity, read_origin(origin)).first;
    const Secret& secret = found->second;
    if (origin.is == KeyKind::volume_key) {
      keys.push_back({origin.whose, {volume_key_of(secret, origin), origin.is}});
      continue;
    }
    const bool newline = static_cast<char>(secret.bytes().back()) == '\n';
    keys.push_back({origin.whose, {secret.clone(), origin.is}, newline});
  }
  return keys;
}

}  // namespace peelfs::cli
