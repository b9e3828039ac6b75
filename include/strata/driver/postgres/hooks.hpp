// What a server says unasked, handed to the user's functions: notices, and changes of the settings that it reports.
#ifndef STRATA_DRIVER_POSTGRES_HOOKS_HPP
#define STRATA_DRIVER_POSTGRES_HOOKS_HPP

#include <strata/driver/postgres/error.hpp>
#include <strata/driver/postgres/options.hpp>

#include <libpq-fe.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {
namespace detail {

/// The hooks of one connection, which it must not leave: libpq keeps its address. Used by one thread at a time.
class postgres_hooks {
public:
    postgres_hooks() noexcept = default;
    postgres_hooks(const postgres_hooks&) = delete;
    postgres_hooks& operator=(const postgres_hooks&) = delete;

    /// From now on notices go to the hook, or nowhere: libpq's own receiver would write to the standard error.
    void hear(PGconn* c, const postgres_options& o) noexcept {
        on_notice_ = o.on_notice;
        on_parameter_ = o.on_parameter;
        context_ = o.context;
        ::PQsetNoticeReceiver(c, [](void* self, const PGresult* r) { static_cast<postgres_hooks*>(self)->tell(r); }, this);
    }
    /// The settings that are watched, as they are now.
    void know(const PGconn* c, const postgres_options& o) {
        watched_.clear();
        if (on_parameter_ == nullptr) return;
        for (const std::string& name : o.watched_parameters) watched_.emplace_back(name, value_of(c, name));
    }
    /// Tells which of them have changed. Sends nothing: the server has reported them by itself.
    STRATA_INLINE void look(const PGconn* c) {
        if (!watched_.empty()) [[unlikely]]
            compare(c);
    }
    /// The connection goes back to whoever opened it.
    static void leave(PGconn* c) noexcept {
        ::PQsetNoticeReceiver(c, [](void*, const PGresult*) {}, nullptr);
    }

private:
    STRATA_COLD void compare(const PGconn* c) {
        for (auto& [name, value] : watched_) {
            const std::string_view now = value_of(c, name);
            if (now == value) continue;
            value = now;
            on_parameter_(context_, postgres_parameter{name, value});
        }
    }
    void tell(const PGresult* r) noexcept {
        if (on_notice_ == nullptr) return;
        on_notice_(context_,
                   {field_of(r, PG_DIAG_SEVERITY_NONLOCALIZED), field_of(r, PG_DIAG_SQLSTATE), field_of(r, PG_DIAG_MESSAGE_PRIMARY),
                    field_of(r, PG_DIAG_MESSAGE_DETAIL), field_of(r, PG_DIAG_MESSAGE_HINT)});
    }
    [[nodiscard]] static std::string_view value_of(const PGconn* c, const std::string& name) noexcept {
        const char* const value = ::PQparameterStatus(c, name.c_str());
        return value != nullptr ? std::string_view{value} : std::string_view{};
    }

    void (*on_notice_)(void*, const postgres_notice&) noexcept = nullptr;
    void (*on_parameter_)(void*, const postgres_parameter&) noexcept = nullptr;
    void* context_ = nullptr;
    std::vector<std::pair<std::string, std::string>> watched_;  // name and value
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
