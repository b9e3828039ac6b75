// Sinks: how many rows they take, what they keep across attempts; the erased forms.
#include <value/fakes.hpp>

#include <strata/value/erased.hpp>
#include <strata/value/row.hpp>

using namespace strata_test;
using strata::errc;
using strata::flow;

namespace {

using rows = std::vector<fake_row>;

fake_row one_column(fake_value v) { return {{"n"}, {std::move(v)}}; }

/// What a driver does with a sink.
template <class Sink>
strata::error feed(Sink&& sink, const rows& all, int* pauses = nullptr) {
    strata::row_plan plan;
    strata::error e = sink.plan(one_column(null_value()), plan);
    if (e) return e;
    for (const fake_row& r : all) {
        const flow f = sink.row(r, plan, e);
        if (f == flow::stop) return e;
        CHECK_FALSE(e);
        if (f == flow::pause && pauses != nullptr) ++*pauses;
    }
    sink.finish(e);
    return e;
}

static_assert(strata::row_sink<strata::one_sink<int>, fake_row> && strata::row_sink<strata::maybe_one_sink<int>> &&
              strata::row_sink<strata::all_sink<bool>> && strata::row_sink<strata::batch_sink<int>> &&
              strata::row_sink<strata::discard_sink> && strata::row_sink<strata::sink_ref, fake_row>);

}  // namespace

TEST_CASE("one row, neither none nor two", "[sink]") {
    strata::one_sink<int> sink;
    CHECK(feed(sink, {}).code() == errc::no_rows);
    sink.restart();
    CHECK(feed(sink, {one_column(integer(1)), one_column(integer(2))}).code() == errc::too_many_rows);
    sink.restart();
    CHECK_FALSE(feed(sink, {one_column(integer(3))}));
    CHECK(std::move(sink).take() == 3);
    CHECK(feed(strata::one_sink<int>{}, {one_column(text("x"))}).code() == errc::type_mismatch);
}

TEST_CASE("one row or none", "[sink]") {
    strata::maybe_one_sink<std::string> sink;
    CHECK_FALSE(feed(sink, {}));
    CHECK_FALSE(std::move(sink).take());
    sink.restart();
    CHECK(feed(sink, {one_column(text("a")), one_column(text("b"))}).code() == errc::too_many_rows);
    sink.restart();
    CHECK_FALSE(feed(sink, {one_column(text("c"))}));
    CHECK(std::move(sink).take() == "c");
    // a row whose value is NULL is a row
    strata::maybe_one_sink<std::optional<int>> null;
    CHECK_FALSE(feed(null, {one_column(null_value())}));
    CHECK(std::move(null).take().has_value());
}

TEST_CASE("all rows of the last attempt only", "[sink]") {
    strata::all_sink<int> sink;
    CHECK(feed(sink, {one_column(integer(1)), one_column(null_value())}).code() == errc::null_value);
    sink.restart();
    CHECK_FALSE(feed(sink, {one_column(integer(2)), one_column(integer(3))}));
    CHECK(std::move(sink).take() == std::vector<int>{2, 3});
    strata::all_sink<bool> flags;
    CHECK_FALSE(feed(flags, {one_column(integer(1)), one_column(boolean(false))}));
    CHECK(std::move(flags).take() == std::vector<bool>{true, false});
}

TEST_CASE("batches pause when they are full", "[sink]") {
    strata::batch_sink<int> sink{2};
    int pauses = 0;
    CHECK_FALSE(feed(sink, {one_column(integer(1)), one_column(integer(2))}, &pauses));
    CHECK(pauses == 1);
    CHECK(sink.batch() == std::vector<int>{1, 2});
    sink.clear();
    CHECK_FALSE(feed(sink, {one_column(integer(3))}, &pauses));
    CHECK(pauses == 1);
    CHECK(sink.batch() == std::vector<int>{3});
    CHECK(feed(sink, {one_column(text("x"))}).code() == errc::type_mismatch);
    CHECK(sink.batch() == std::vector<int>{3});
}

TEST_CASE("rows that nobody wants need no plan", "[sink]") {
    CHECK(strata::discard_sink::tag() == nullptr);
    CHECK_FALSE(feed(strata::discard_sink{}, {one_column(text("x")), one_column(null_value())}));
}

TEST_CASE("a sink behind virtual calls does the same", "[sink][erased]") {
    const rows all{one_column(integer(1)), one_column(integer(2))};
    strata::all_sink<int> inner;
    strata::erased_sink<strata::all_sink<int>> erased{inner};
    strata::sink_ref sink{erased};
    CHECK(sink.tag() == inner.tag());
    CHECK_FALSE(feed(sink, all));
    sink.restart();
    CHECK_FALSE(feed(sink, all));
    CHECK(std::move(inner).take() == std::vector<int>{1, 2});

    strata::one_sink<int> one;
    strata::erased_sink<strata::one_sink<int>> erased_one{one};
    const strata::error e = feed(strata::sink_ref{erased_one}, {one_column(text("x"))});
    CHECK(e.code() == errc::type_mismatch);
    CHECK(e.message() == "column \"n\": wanted int32, found text");
    one.restart();
    CHECK(feed(strata::sink_ref{erased_one}, {}).code() == errc::no_rows);
}

TEST_CASE("an erased row hands out every class of values", "[erased]") {
    const fake_row row{{"a", "b", "c", "d", "e", "f", "g"},
                       {null_value(), boolean(true), integer(-1), real(2.5), text("t"), blob("b"), other()},
                       {"X"}};
    const strata::erased_row<fake_row> erased{row};
    const strata::any_row& any = erased;
    static_assert(strata::row_reader<strata::any_row> && strata::column_reader<strata::any_column_reader>);
    CHECK(any.size() == 7);
    CHECK(any.name(1) == "b");
    CHECK(any.declared_type(0) == "X");
    for (int i = 0; i < 7; ++i) CHECK(any.column(i).type() == row.column(i).type());
    CHECK(any.column(1).boolean());
    CHECK(any.column(2).integer() == -1);
    CHECK(any.column(3).real() == 2.5);
    CHECK(any.column(4).text() == "t");
    CHECK(any.column(4).text().data() == row.values[4].bytes.data());
    CHECK(any.column(5).blob().size() == 1);
}

TEST_CASE("an erased writer writes the same", "[erased]") {
    static_assert(strata::parameter_writer<strata::any_parameter_writer>);
    fake_writer w;
    strata::erased_writer<fake_writer> erased{w};
    strata::any_parameter_writer& any = erased;
    any.null();
    any.boolean(true);
    any.integer(5);
    any.real(1.5);
    any.text("t");
    any.text_copy("c");
    any.blob({});
    any.blob_copy({});
    REQUIRE(w.written.size() == 8);
    CHECK(w.written[0].kind == strata::column_type::null);
    CHECK((w.written[1].kind == strata::column_type::boolean && w.written[1].number == 1));
    CHECK(w.written[2].number == 5);
    CHECK(w.written[3].fraction == 1.5);
    CHECK((w.written[4].bytes == "t" && !w.written[4].copied));
    CHECK((w.written[5].bytes == "c" && w.written[5].copied));
    CHECK((w.written[6].kind == strata::column_type::blob && !w.written[6].copied));
    CHECK(w.written[7].copied);
}
