// Connection strings: whatever they hold, the lists of allowed hosts and forbidden settings are kept, and no error shows a password.
#include "fuzz.hpp"

#include <strata/driver/postgres/options.hpp>

#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const bool set = ::setenv("STRATA_FUZZ", "x@${HOME} '", 1) == 0;
    strata_fuzz::require(set);
    const strata_fuzz::input in{data, size};
    constexpr std::string_view secret = "9f8e7d6c5b4a";
    strata::postgres_options o{.connection = std::string{in.text()}, .password = std::string{secret}};
    const bool guarded = in.choice() % 2 != 0;
    if (guarded) {
        o.allowed_hosts = {"db.internal", "*.example.com"};
        o.forbidden = {{"sslmode", "disable"}};
    }
    std::string expanded;
    if (!strata::detail::expand_environment(in.text(), expanded)) strata_fuzz::require(expanded.size() <= 16 * in.text().size());

    strata::detail::postgres_target target;
    const strata::error e = target.read(o);
    if (e && o.connection.find(secret) == std::string::npos) strata_fuzz::require(e.message().find(secret) == std::string_view::npos);
    if (!e && guarded) {
        strata_fuzz::require(target.value("sslmode") != "disable");
        strata_fuzz::require(!target.value("host").empty() || !target.value("hostaddr").empty());
        for (std::string_view rest = target.value("host"); !rest.empty();) {
            const std::string_view host = rest.substr(0, rest.find(','));
            rest.remove_prefix(host.size() < rest.size() ? host.size() + 1 : rest.size());
            strata_fuzz::require(host == "db.internal" || (host.size() > 12 && host.substr(host.size() - 12) == ".example.com"));
        }
    }
    static_cast<void>(target.names());
    static_cast<void>(o.validate());
    return 0;
}
