// expect: the_type_name_of_as_is_none_write_it_like_jsonb_or_numeric_10_2_or_app_mood_or_text_array
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
constexpr auto named = "settings"_arg.as("jsonb");
#else
constexpr auto named = "settings"_arg.as("jsonb); drop table account");
#endif
