#include "lvm/config.h"

#include <array>
#include <cstdarg>
#include <cstdio>
#include <new>

#include "peelfs/error.h"
#include "peelfs/mutex.h"

namespace peelfs::lvm {

namespace {

Mutex library_mutex;

/// Where this thread's parse wants to have the first complaint; null outside of one.
thread_local std::string* complaint = nullptr;

extern "C" __attribute__((format(printf, 5, 6))) void keep_complaint(int /*level*/,
                                                                     const char* /*file*/,
                                                                     int /*line*/, int /*error*/,
                                                                     const char* format, ...) {
  // libcryptsetup uses the same library: what is said outside of our parse is not ours to keep.
  if (complaint == nullptr || !complaint->empty()) return;
  std::array<char, 256> text{};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  *complaint = text.data();
}

Error bad_entry(const ConfigNode& entry, const std::string& expected) {
  std::string found = "something else";
  if (entry.v != nullptr && entry.v->type == DM_CFG_INT) found = std::to_string(entry.v->v.i);
  if (entry.v != nullptr && entry.v->type == DM_CFG_STRING) {
    found = "\"" + std::string(entry.v->v.str) + "\"";
  }
  if (entry.v != nullptr && entry.v->next != nullptr) found = "a list";
  return Error(Fault::damaged, "entry \"" + std::string(entry.key) + "\" is not valid")
      .found(found)
      .expected(expected);
}

const ConfigNode* find_entry(const ConfigNode& section, std::string_view key) {
  for (const ConfigNode* node = section.child; node != nullptr; node = node->sib) {
    if (node->v != nullptr && node->key == key) return node;
  }
  return nullptr;
}

template <typename Value>
Value must_have(std::optional<Value> value, const ConfigNode& section, std::string_view key) {
  if (value) return std::move(*value);
  throw Error(Fault::damaged, "section \"" + std::string(section.key) + "\" lacks the entry \"" +
                                  std::string(key) + "\"");
}

}  // namespace

ConfigTree::ConfigTree(const std::string& text) : lock_(library_mutex), tree_(dm_config_create()) {
  if (tree_ == nullptr) throw std::bad_alloc();
  // Set before each parse: other users of the library reset it when they are done.
  dm_log_with_errno_init(keep_complaint);
  std::string said;
  complaint = &said;
  // Looking for duplicates takes time that grows with the square of their number. The text ends in
  // a NUL (it is a std::string), which the parser may look at.
  const char* begin = text.c_str();
  const int parsed = dm_config_parse_without_dup_node_check(tree_, begin, begin + text.size());
  complaint = nullptr;
  if (parsed == 0) {
    dm_config_destroy(tree_);
    throw Error(Fault::damaged, "LVM2 metadata text cannot be parsed")
        .found(said.empty() ? "no more is known" : said);
  }
}

ConfigTree::~ConfigTree() {
  dm_config_destroy(tree_);
}

const ConfigNode* ConfigTree::first_section() const noexcept {
  const ConfigNode* node = tree_->root;
  while (node != nullptr && node->v != nullptr) node = node->sib;
  return node;
}

std::vector<const ConfigNode*> sections_of(const ConfigNode& section) {
  std::vector<const ConfigNode*> sections;
  for (const ConfigNode* node = section.child; node != nullptr; node = node->sib) {
    if (node->v == nullptr) sections.push_back(node);
  }
  return sections;
}

const ConfigNode* find_section(const ConfigNode& section, std::string_view name) {
  for (const ConfigNode* node = section.child; node != nullptr; node = node->sib) {
    if (node->v == nullptr && node->key == name) return node;
  }
  return nullptr;
}

std::optional<std::string> find_text(const ConfigNode& section, std::string_view key) {
  const ConfigNode* entry = find_entry(section, key);
  if (entry == nullptr) return std::nullopt;
  if (entry->v->type != DM_CFG_STRING || entry->v->next != nullptr) {
    throw bad_entry(*entry, "a word");
  }
  return entry->v->v.str;
}

std::optional<std::uint64_t> find_number(const ConfigNode& section, std::string_view key,
                                         std::uint64_t most) {
  const ConfigNode* entry = find_entry(section, key);
  if (entry == nullptr) return std::nullopt;
  const dm_config_value& value = *entry->v;
  if (value.type != DM_CFG_INT || value.next != nullptr || value.v.i < 0 ||
      static_cast<std::uint64_t>(value.v.i) > most) {
    throw bad_entry(*entry, "a number up to " + std::to_string(most));
  }
  return static_cast<std::uint64_t>(value.v.i);
}

bool list_holds(const ConfigNode& section, std::string_view key, std::string_view word) {
  const ConfigNode* entry = find_entry(section, key);
  if (entry == nullptr) return false;
  for (const dm_config_value* value = entry->v; value != nullptr; value = value->next) {
    if (value->type == DM_CFG_STRING && value->v.str == word) return true;
  }
  return false;
}

std::string get_text(const ConfigNode& section, std::string_view key) {
  return must_have(find_text(section, key), section, key);
}

std::uint64_t get_number(const ConfigNode& section, std::string_view key, std::uint64_t most) {
  return must_have(find_number(section, key, most), section, key);
}

std::vector<ConfigValue> list_of(const ConfigNode& section, std::string_view key) {
  std::vector<ConfigValue> values;
  const ConfigNode* entry = find_entry(section, key);
  if (entry == nullptr || entry->v->type == DM_CFG_EMPTY_ARRAY) return values;
  for (const dm_config_value* value = entry->v; value != nullptr; value = value->next) {
    ConfigValue one;
    if (value->type == DM_CFG_STRING) one.text = value->v.str;
    if (value->type == DM_CFG_INT && value->v.i >= 0) {
      one.number = static_cast<std::uint64_t>(value->v.i);
    }
    values.push_back(std::move(one));
  }
  return values;
}

}  // namespace peelfs::lvm
