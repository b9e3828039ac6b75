// A job, its tables and the statements on them. What a worker does is work_on in main.cpp.
#ifndef EXAMPLE_QUEUE_JOB_HPP
#define EXAMPLE_QUEUE_JOB_HPP

#include <strata/driver/postgres.hpp>
#include <strata/policy/retry.hpp>
#include <strata/row_lock.hpp>
#include <strata/strata.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <cstdint>
#include <string>

namespace queue {

using namespace strata::literals;

// Conflicts and lost connections are met by running the whole transaction again.
using database = strata::database<strata::stack<strata::retry<>, strata::pool<>, strata::postgres>>;

struct job {
    std::int64_t id = 0;
    std::string task;
};

constexpr auto make_jobs = "create table strata_job (id bigint primary key, task text not null)"_sql;
// Nothing here forbids a job to be done twice: that it is not is the queue's merit, and is checked.
constexpr auto make_done = "create table strata_job_done (id bigint not null, worker text not null, result bigint not null)"_sql;
constexpr auto drop_jobs = "drop table if exists strata_job"_sql;
constexpr auto drop_done = "drop table if exists strata_job_done"_sql;
constexpr auto fill = "insert into strata_job select i, 'weigh parcel ' || i from generate_series(1, :jobs::bigint) i"_sql;

constexpr auto write_result = "insert into strata_job_done values (:id, :worker, :result)"_sql;
constexpr auto remove = "delete from strata_job where id = :id"_sql;

constexpr auto count_left = "select count(*) from strata_job"_sql;
constexpr auto count_done = "select count(*) from strata_job_done"_sql;
constexpr auto count_different = "select count(distinct id) from strata_job_done"_sql;
constexpr auto count_workers = "select count(distinct worker) from strata_job_done"_sql;

}  // namespace queue

BOOST_HANA_ADAPT_STRUCT(queue::job, id, task);

template <>
struct strata::mapping<queue::job> {
    static constexpr std::string_view table = "strata_job";
    static constexpr std::string_view key = "id";
};

#endif
