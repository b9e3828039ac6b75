// Names of tables and columns that are only known at run time, quoted so that they can never be anything else.
#ifndef STRATA_SQL_IDENTIFIER_HPP
#define STRATA_SQL_IDENTIFIER_HPP

#include <strata/core/config.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace strata::inline STRATA_ABI {

/// A quoted identifier: `q += strata::identifier("account")` appends `"account"`. Quoted names keep their case in both
/// dialects. Whether it exists is for the database to say. SQLite takes a quoted name of no column for a string unless
/// `SQLITE_DBCONFIG_DQS_DML` is off; PostgreSQL cuts names after 63 bytes.
class identifier {
public:
    explicit identifier(std::string name) : name_(std::move(name)) {}
    /// `"schema"."name"`.
    identifier(std::string schema, std::string name) : schema_(std::move(schema)), name_(std::move(name)), qualified_(true) {}

    /// False for an empty name and one with a NUL character: a statement refuses them.
    [[nodiscard]] bool valid() const noexcept { return valid(name_) && (!qualified_ || valid(schema_)); }
    /// As it is written in SQL.
    [[nodiscard]] std::string quoted() const { return qualified_ ? quote(schema_) + '.' + quote(name_) : quote(name_); }

private:
    [[nodiscard]] static bool valid(const std::string& s) noexcept { return !s.empty() && s.find('\0') == std::string::npos; }
    [[nodiscard]] static std::string quote(std::string_view s) {
        std::string q = "\"";
        for (const char c : s) q.append(c == '"' ? 2 : 1, c);
        return q += '"';
    }

    std::string schema_;
    std::string name_;
    bool qualified_ = false;
};

}  // namespace strata::inline STRATA_ABI

#endif
