#include "lvm/metadata_scan.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "lvm/lvm_disk.h"
#include "peelfs/error.h"

namespace peelfs::lvm {

namespace {

// A volume group needs 5: vg, logical_volumes, LV, segment, policy_settings.
constexpr unsigned kMaxDepth = 32;
// Some 60 of them make a logical volume.
constexpr std::size_t kMaxTokens = 2'000'000;

bool is_space(char c) noexcept {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  MetadataSummary summarize() {
    while (!knows_all() && next()) take();
    if (!summary_) fail("no volume group", "a section that holds id and seqno");
    if (summary_->vg_uuid.empty()) {
      fail("the volume group has no valid id", "32 letters and digits");
    }
    if (!has_seqno_) fail("the volume group has no seqno", "a number");
    count_members();
    return *summary_;
  }

  void check() {
    while (next()) take();
    if (depth_ != 0) fail("the text ends inside of a section", "\"}\"");
  }

 private:
  enum class Kind { punctuation, string, word };
  enum class Members { unknown, counting, counted };

  bool knows_all() const { return summary_ && has_seqno_ && !summary_->vg_uuid.empty(); }

  /// As far as the text can be followed: what is wrong with the rest is said when it is used.
  void count_members() {
    MetadataSummary known = *summary_;  // a second seqno, say, changes nothing of it
    try {
      while (members_ != Members::counted && !seen_vg_ && next()) take();
    } catch (const Error&) {
      members_ = Members::unknown;
    }
    known.members = members_ == Members::counted ? summary_->members : 0;
    summary_ = std::move(known);
  }

  [[noreturn]] void fail(const std::string& found, const std::string& expected) const {
    throw Error(Fault::damaged, "LVM2 metadata text is damaged in line " + std::to_string(line_))
        .found(found)
        .expected(expected);
  }

  void skip_blanks() {
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '#') at_ = std::min(text_.find('\n', at_), text_.size());
      if (at_ == text_.size() || !is_space(text_[at_])) return;
      if (text_[at_] == '\n') ++line_;
    }
  }

  bool next() {
    skip_blanks();
    if (at_ >= text_.size()) return false;
    const std::size_t begin = at_;
    const char c = text_[at_];
    if (std::string_view("{}[],=").find(c) != std::string_view::npos) {
      kind_ = Kind::punctuation;
      token_ = text_.substr(at_++, 1);
    } else if (c == '"' || c == '\'') {
      kind_ = Kind::string;
      take_string(c);
      token_ = text_.substr(begin + 1, at_ - begin - 2);
    } else {
      kind_ = Kind::word;
      at_ = std::min(text_.find_first_of(" \t\n\v\f\r#{}[],=\"'", at_), text_.size());
      token_ = text_.substr(begin, at_ - begin);
      // Here the parser would go on with the word, which moves the border of the next token.
      const char end = at_ < text_.size() ? text_[at_] : ' ';
      const bool number = token_.find_first_not_of("+-.0123456789") == std::string_view::npos;
      if (end == '"' || end == '\'' || end == '[' ||
          ((end == ',' || end == ']') && !(number && value_allowed_))) {
        fail("a word that is followed by " + std::string(1, end), "a blank or a sign between them");
      }
    }
    if (++tokens_ > kMaxTokens) {
      fail("more than " + std::to_string(kMaxTokens) + " words", "a volume group of sane size");
    }
    value_allowed_ =
        kind_ == Kind::punctuation && (token_[0] == '=' || token_[0] == '[' || token_[0] == ',');
    return true;
  }

  void take_string(char quote) {
    for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (quote == '"' && text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
    }
    if (at_ >= text_.size()) fail("a string without an end", std::string(1, quote));
    ++at_;
  }

  void take() {
    if (kind_ == Kind::punctuation) {
      take_punctuation(token_[0]);
      return;
    }
    if (after_equals_ && depth_ == 1 && summary_ && !seen_vg_) take_value();
    if (!after_equals_) key_ = token_;
    after_equals_ = false;
  }

  void take_punctuation(char c) {
    after_equals_ = c == '=';
    if (c == '{') {
      if (++depth_ > kMaxDepth) {
        fail("sections nested deeper than " + std::to_string(kMaxDepth), "at most 5");
      }
      // As in LVM2, the first section of the text is the volume group.
      if (depth_ == 1 && !summary_) summary_ = MetadataSummary{std::string(key_), "", 0, 0};
      if (depth_ == 2 && key_ == "physical_volumes" && !seen_vg_) members_ = Members::counting;
      if (depth_ == 3 && members_ == Members::counting) ++summary_->members;
    } else if (c == '}') {
      if (depth_ == 0) fail("\"}\" outside of any section", "a section's name or a key");
      if (--depth_ == 0 && summary_) seen_vg_ = true;
      if (depth_ == 1 && members_ == Members::counting) members_ = Members::counted;
    }
  }

  void take_value() {
    if (key_ == "id") {
      summary_->vg_uuid = uuid_without_hyphens(token_).value_or("");
    } else if (key_ == "seqno") {
      const char* end = token_.data() + token_.size();
      const auto result = std::from_chars(token_.data(), end, summary_->seqno);
      if (result.ec != std::errc() || result.ptr != end) {
        fail("seqno " + std::string(token_), "a number");
      }
      has_seqno_ = true;
    }
  }

  std::string_view text_;
  std::size_t at_ = 0, line_ = 1, tokens_ = 0;
  unsigned depth_ = 0;
  Kind kind_ = Kind::punctuation;
  std::string_view token_, key_;
  bool value_allowed_ = false;  ///< the token before lets the next be a value
  bool after_equals_ = false, seen_vg_ = false, has_seqno_ = false;
  std::optional<MetadataSummary> summary_;
  Members members_ = Members::unknown;
};

}  // namespace

MetadataSummary summarize_metadata(std::string_view text) {
  return Scanner(text).summarize();
}

void check_metadata(std::string_view text) {
  Scanner(text).check();
}

}  // namespace peelfs::lvm
