// Just enough of a command line: --name VALUE, --name=VALUE, --switch. What is wrong becomes one clear line and status 2.
#ifndef EXAMPLE_COMMON_FLAGS_HPP
#define EXAMPLE_COMMON_FLAGS_HPP

#include <charconv>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace example {

// The user asked for something that cannot be done: main prints the text and returns 2.
struct usage_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class command_line {
public:
    command_line(int argc, char** argv) : arguments_(argv + 1), left_(argc > 0 ? argc - 1 : 0) {}

    // Takes the next argument, apart from its value in `--name=value`; false at the end.
    bool next() {
        if (value_) throw usage_error(name() + " takes no value");
        if (left_ == 0) return false;
        current_ = take();
        const std::size_t equals = current_.find('=');
        if (is_flag() && equals != current_.npos) {
            value_ = current_.substr(equals + 1);
            current_ = current_.substr(0, equals);
        }
        return true;
    }

    [[nodiscard]] bool is(std::string_view flag) const { return current_ == flag; }
    [[nodiscard]] bool is_flag() const { return current_.starts_with("-") && current_ != "-"; }
    [[nodiscard]] std::string name() const { return std::string(current_); }

    // The value of the current flag.
    std::string text() {
        std::optional<std::string_view> given = value_;
        value_.reset();
        if (!given && left_ > 0) given = take();
        if (!given || given->empty()) throw usage_error(name() + " needs a value");
        return std::string(*given);
    }

    std::int64_t number(std::int64_t least, std::int64_t most) {
        const std::string given = text();
        std::int64_t n = 0;
        const auto [end, problem] = std::from_chars(given.data(), given.data() + given.size(), n);
        if (problem != std::errc{} || end != given.data() + given.size() || n < least || n > most)
            throw usage_error(name() + ": '" + given + "' is not a number from " + std::to_string(least) + " to " + std::to_string(most));
        return n;
    }

private:
    std::string_view take() {
        --left_;
        return *arguments_++;
    }

    char** arguments_;
    int left_;
    std::string_view current_;
    std::optional<std::string_view> value_;
};

}  // namespace example

#endif
