// Generated from include/strata/value/json.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_VALUE_JSON_HPP
#define STRATA_SINGLE_VALUE_JSON_HPP

#include <strata/strata.hpp>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

// JSON columns as `boost::json::value`. Opt-in: it alone includes Boost.JSON, which is to be linked (or, in one source file of the
// program, `#include <boost/json/src.hpp>`).
#ifndef STRATA_VALUE_JSON_HPP
#define STRATA_VALUE_JSON_HPP

namespace strata::inline STRATA_ABI {

/// Reads and writes text. A text that is not JSON is a `type_mismatch`. SQL's NULL is not JSON's null: a column that may be NULL is
/// read as `std::optional<boost::json::value>`. Numbers are as Boost.JSON has them: 64-bit integers or doubles.
template <>
struct codec<boost::json::value> {
    static constexpr std::string_view name = "json";
    static constexpr column_classes takes{column_type::text};
    static constexpr std::string_view hint = "the text is not valid JSON";

    template <column_reader R>
    static errc read(const R& in, boost::json::value& out) {
        const column_type found = in.type();
        if (found != column_type::text) return detail::unreadable(found);
        boost::json::error_code failed;
        const std::string_view text = in.text();
        boost::json::value parsed = boost::json::parse({text.data(), text.size()}, failed, out.storage());
        if (failed) return errc::type_mismatch;
        out = std::move(parsed);
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, const boost::json::value& value) {
        out.text_copy(boost::json::serialize(value));
        return errc::ok;
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
