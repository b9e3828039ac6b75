// Records in a file that only grows, and what a crash or a bad disk may have made of them.
//
//   length (4 bytes), CRC-32 of the content, CRC-32 of these two, content, a mark          numbers least byte first
//
// A write that a crash has cut short leaves a file that ends within its record, or zeros where sectors were not written: a torn tail,
// which was never acknowledged and is dropped. Anything else that does not fit is damage to what was acknowledged, and never passed
// over: the length has a CRC of its own, so that a wrong one cannot look like a file that ends too early, and no record ends with zeros,
// so that a whole one cannot look like one that was not written to its end.
#ifndef STRATA_TRANSACTION_TWO_PHASE_LOG_RECORDS_HPP
#define STRATA_TRANSACTION_TWO_PHASE_LOG_RECORDS_HPP

#include <strata/transaction/two_phase/decision.hpp>

#include <boost/crc.hpp>

#include <algorithm>

namespace strata::inline STRATA_ABI {

namespace detail {

[[nodiscard]] inline std::uint32_t crc_of(std::string_view bytes) noexcept {
    boost::crc_32_type crc;
    crc.process_bytes(bytes.data(), bytes.size());
    return crc.checksum();
}

inline constexpr std::size_t record_head = 12;
inline constexpr char record_mark = 'Z';

/// `content`: less than 4 GiB.
inline void append_record(std::string& out, std::string_view content) {
    const std::size_t begin = out.size();
    byte_writer w{out};
    w.number(static_cast<std::uint32_t>(content.size()));
    w.number(crc_of(content));
    w.number(crc_of(std::string_view{out}.substr(begin, 8)));
    out += content;
    out += record_mark;
}

/// What stands at a place of the file.
enum class log_place : std::uint8_t { record, end, torn, corrupt };

/// The records of a file one by one.
class record_reader {
public:
    explicit record_reader(std::string_view file) noexcept : file_(file) {}

    /// `record` with its content, or how the file ends; then it is not asked again.
    [[nodiscard]] log_place next(std::string_view& content) noexcept {
        const std::string_view rest = file_.substr(at_);
        if (rest.empty()) return log_place::end;
        if (rest.size() < record_head) return log_place::torn;
        byte_reader r{rest.substr(0, record_head)};
        std::uint32_t length = 0, crc = 0, head_crc = 0;
        r.number(length);
        r.number(crc);
        r.number(head_crc);
        if (head_crc != crc_of(rest.substr(0, 8))) return torn_or_corrupt(record_head);
        const std::size_t size = record_head + length + 1;
        if (rest.size() < size) return log_place::torn;
        content = rest.substr(record_head, length);
        if (crc != crc_of(content) || rest[size - 1] != record_mark) return torn_or_corrupt(size);
        at_ += size;
        return log_place::record;
    }
    /// Where the next record begins: after `torn` and `corrupt`, the one that is not right.
    [[nodiscard]] std::size_t offset() const noexcept { return at_; }

private:
    /// Sectors that were never written are zero up to the end of the file, from the record on or from a sector's beginning within it.
    [[nodiscard]] log_place torn_or_corrupt(std::size_t size) const noexcept {
        constexpr std::size_t sector = 512;
        const std::size_t last = file_.find_last_not_of('\0');
        const std::size_t zeros = last == file_.npos ? 0 : last + 1;
        const std::size_t next_sector = std::max(zeros, at_ + 1) + sector - 1;
        const bool torn = zeros <= at_ || next_sector - next_sector % sector < std::min(at_ + size, file_.size());
        return torn ? log_place::torn : log_place::corrupt;
    }

    std::string_view file_;
    std::size_t at_ = 0;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
