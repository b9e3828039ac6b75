// UUIDs as text and as sixteen bytes.
#include <value/fakes.hpp>

#include <strata/value/uuid.hpp>

using namespace strata_test;
using strata::errc;
using strata::uuid;

TEST_CASE("uuids come back as they were", "[uuid]") {
    numbers random;
    bool right = true;
    uuid before;
    for (int i = 0; i < 5000; ++i) {
        uuid id;
        for (std::byte& b : id.bytes) b = static_cast<std::byte>(random.engine() & 255u);
        right = right && round_trip(id) && uuid::parse(id.to_string()) == id;
        right = right && (id < before) == (id.to_string() < before.to_string());
        const fake_value bytes = blob({reinterpret_cast<const char*>(id.bytes.data()), 16});
        right = right && read<uuid>(bytes).value == id;
        before = id;
    }
    CHECK(right);
}

TEST_CASE("the text of a uuid", "[uuid]") {
    constexpr std::optional<uuid> id = uuid::parse("123e4567-E89B-12d3-a456-426614174000");
    static_assert(id.has_value() && id->bytes[0] == std::byte{0x12} && id->bytes[15] == std::byte{0});
    CHECK(id->to_string() == "123e4567-e89b-12d3-a456-426614174000");
    CHECK(uuid{}.to_string() == "00000000-0000-0000-0000-000000000000");
    CHECK(write(*id).kind == strata::column_type::text);
    CHECK(write(*id).copied);
    for (const char* bad :
         {"", "123e4567-e89b-12d3-a456-42661417400", "123e4567-e89b-12d3-a456-4266141740000", "123e4567e89b-12d3-a456-4266141740000",
          "123e4567-e89b-12d3-a456-42661417400g", "{23e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456_426614174000",
          "123e4567-e89b-12d3-a45-6426614174000"}) {
        INFO(bad);
        CHECK_FALSE(uuid::parse(bad));
        CHECK(read_code<uuid>(text(bad)) == errc::type_mismatch);
    }
    CHECK(read_code<uuid>(blob("123")) == errc::type_mismatch);
    CHECK(read_code<uuid>(blob("12345678901234567")) == errc::type_mismatch);
    CHECK(read_code<uuid>(integer(1)) == errc::type_mismatch);
    CHECK(read_code<uuid>(null_value()) == errc::null_value);
}
