-- migrate:up
create table writes (
    id uuid primary key,
    payload text not null,
    written_at timestamptz not null default clock_timestamp()
);

create index writes_written_at_idx on writes (written_at);

-- migrate:down
drop table writes;
