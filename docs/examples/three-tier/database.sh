#!/bin/sh
# PostgreSQL: "database.sh FOLDER" is the primary, "database.sh FOLDER ADDRESS" a replica of the one at ADDRESS.
# What is in FOLDER survives; whatever is missing is made first.
set -eu
data=$1/data primary=${2-}
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH

if [ ! -s "$data/ready" ] && [ -z "$primary" ]; then
    rm -rf "$data"
    initdb -D "$data" --auth=trust --encoding=UTF8 --locale=C.UTF-8
    # Who may connect is the security groups' to say: the machines of "app" and "data", and nobody else.
    echo 'host all,replication all samenet trust
host all all 10.30.0.0/16 trust' >>"$data/pg_hba.conf"
    postgres --single -D "$data" postgres <<SQL
CREATE ROLE app LOGIN
CREATE DATABASE app OWNER app
SQL
    postgres --single -D "$data" app <<SQL
CREATE TABLE notes (id bigserial PRIMARY KEY, note text NOT NULL)
GRANT ALL ON notes, notes_id_seq TO app
SQL
    echo primary >"$data/ready"
elif [ ! -s "$data/ready" ]; then
    rm -rf "$data"
    until pg_basebackup -h "$primary" -U postgres -D "$data" --write-recovery-conf; do sleep 1; done
    echo replica >"$data/ready"
fi
exec postgres -D "$data" -k /tmp -c listen_addresses='*'
