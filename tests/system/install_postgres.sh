#!/usr/bin/env bash
# Makes sure that there is a PostgreSQL server: as root installs the distribution's.
set -euo pipefail

ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && exit
command -v initdb >/dev/null && exit
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo 'make test-stack needs a PostgreSQL server; on Debian and Ubuntu:' >&2
  echo '  sudo apt-get update && sudo apt-get install postgresql' >&2
  exit 1
fi
# Only the programs are wanted, not a database that starts with the machine.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
  echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
