// The statements of two-phase commit, as PostgreSQL writes them. A driver whose database understands them says
// `using two_phase = prepared_transactions;`
#ifndef STRATA_SQL_PREPARED_TRANSACTIONS_HPP
#define STRATA_SQL_PREPARED_TRANSACTIONS_HPP

#include <strata/core/config.hpp>

#include <string>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// `id`: less than 200 bytes, chosen by whoever prepares; quoted here.
struct prepared_transactions {
    /// Ends the open transaction of a connection, and keeps what it did until somebody decides.
    [[nodiscard]] static std::string prepare(std::string_view id) { return quoted("prepare transaction ", id); }
    [[nodiscard]] static std::string commit(std::string_view id) { return quoted("commit prepared ", id); }
    [[nodiscard]] static std::string roll_back(std::string_view id) { return quoted("rollback prepared ", id); }

private:
    [[nodiscard]] static std::string quoted(std::string_view words, std::string_view id) {
        std::string s{words};
        s += '\'';
        for (const char c : id) s.append(c == '\'' ? 2 : 1, c);
        return s += '\'';
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
