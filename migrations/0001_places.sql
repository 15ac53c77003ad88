-- migrate:up
create table places (
    id integer primary key,
    name text not null,
    geom geography (point, 4326) not null
);

insert into places (id, name, geom)
select
    city.id,
    city.name,
    st_setsrid(st_makepoint(city.longitude, city.latitude), 4326)::geography
from (
    values
    (1, 'Jerusalem', 31.7683, 35.2137),
    (2, 'Bnei Brak', 32.0840, 34.8352),
    (3, 'Tel Aviv', 32.0853, 34.7818),
    (4, 'Haifa', 32.7940, 34.9896),
    (5, 'Beersheba', 31.2530, 34.7915),
    (6, 'Safed', 32.9646, 35.4960),
    (7, 'Antwerp', 51.2194, 4.4025),
    (8, 'Manchester', 53.4808, -2.2426),
    (9, 'Gateshead', 54.9527, -1.6035),
    (10, 'London', 51.5074, -0.1278),
    (11, 'Dublin', 53.3498, -6.2603),
    (12, 'Paris', 48.8566, 2.3522),
    (13, 'Strasbourg', 48.5734, 7.7521),
    (14, 'Zurich', 47.3769, 8.5417),
    (15, 'Vienna', 48.2082, 16.3738),
    (16, 'Budapest', 47.4979, 19.0402),
    (17, 'Vilnius', 54.6872, 25.2797),
    (18, 'Moscow', 55.7558, 37.6173),
    (19, 'New York', 40.7128, -74.0060),
    (20, 'Lakewood', 40.0821, -74.2097),
    (21, 'Monsey', 41.1112, -74.0685),
    (22, 'Baltimore', 39.2904, -76.6122),
    (23, 'Chicago', 41.8781, -87.6298),
    (24, 'Los Angeles', 34.0522, -118.2437),
    (25, 'Toronto', 43.6532, -79.3832),
    (26, 'Montreal', 45.5019, -73.5674),
    (27, 'Buenos Aires', -34.6037, -58.3816),
    (28, 'Sao Paulo', -23.5505, -46.6333),
    (29, 'Johannesburg', -26.2041, 28.0473),
    (30, 'Melbourne', -37.8136, 144.9631),
    (31, 'Sydney', -33.8688, 151.2093),
    (32, 'Anchorage', 61.2181, -149.9003)
) as city (id, name, latitude, longitude);

-- A spiral by the golden angle covers the globe evenly and is the same in every database.
insert into places (id, name, geom)
select
    1000 + n,
    'Waypoint ' || n,
    st_setsrid(
        st_makepoint(
            ((n * 137.50776405)::numeric % 360 - 180)::double precision,
            degrees(asin(2 * (n - 0.5) / 400 - 1))
        ),
        4326
    )::geography
from generate_series(1, 400) as n;

create index places_geom_idx on places using gist (geom);

-- migrate:down
drop table places;
