// The prepared statements of one connection: found by the hash of their text, the least recently used let go first.
#ifndef STRATA_DRIVER_POSTGRES_STATEMENT_CACHE_HPP
#define STRATA_DRIVER_POSTGRES_STATEMENT_CACHE_HPP

#include <strata/sql/descriptor.hpp>
#include <strata/value/row_plan.hpp>

#include <libpq-fe.h>

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace strata::inline STRATA_ABI {
namespace detail {

struct clear_result {
    void operator()(PGresult* r) const noexcept { ::PQclear(r); }
};
using result_owner = std::unique_ptr<PGresult, clear_result>;

/// A statement that the server has prepared and described.
struct prepared_statement {
    hash128 key{};
    std::string text;
    char name[52];  // on the server
    std::vector<::Oid> parameters;
    result_owner columns;  // of the description
    row_plan plan{};       // made for its tag
    bool planned = false;
    bool shares = false;  ///< others may stand behind the same Sync; see shared_link.hpp
};

/// Owned by one connection and used by one thread at a time.
class prepared_statements {
public:
    void reset(std::size_t bound) {
        clear();
        bound_ = bound;
    }
    void clear() noexcept {
        found_.clear();
        order_.clear();
    }
    [[nodiscard]] std::size_t size() const noexcept { return order_.size(); }
    [[nodiscard]] std::size_t bound() const noexcept { return bound_; }

    /// The statement of this key, now the most recently used. The text is compared where others may have composed it.
    [[nodiscard]] prepared_statement* take(const hash128& key, std::string_view text, bool literal) {
        const auto at = found_.find(key);
        if (at == found_.end() || (!literal && at->second->text != text)) return nullptr;
        order_.splice(order_.begin(), order_, at->second);
        return &*at->second;
    }
    /// Room for one more: the name of a statement that the server should let go, or nothing.
    [[nodiscard]] std::string evict() {
        if (order_.size() < bound_) return {};
        std::string name = order_.back().name;
        found_.erase(order_.back().key);
        order_.pop_back();
        return name;
    }
    /// A new one; another one of the same key is forgotten (on the server it was replaced).
    [[nodiscard]] prepared_statement& put(const hash128& key, std::string_view text) {
        forget(key);
        std::list<prepared_statement> one(1);
        one.front().key = key;
        one.front().text = text;
        found_.emplace(key, one.begin());
        order_.splice(order_.begin(), one);
        return order_.front();
    }
    void forget(const hash128& key) noexcept {
        if (const auto at = found_.find(key); at != found_.end()) {
            order_.erase(at->second);
            found_.erase(at);
        }
    }

private:
    struct hash_of {
        std::size_t operator()(const hash128& h) const noexcept { return static_cast<std::size_t>(h.low); }
    };
    std::list<prepared_statement> order_;  // newest first
    std::unordered_map<hash128, std::list<prepared_statement>::iterator, hash_of> found_;
    std::size_t bound_ = 0;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
