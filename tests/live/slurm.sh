#!/bin/sh
# A SLURM cluster of one node and one CPU on this machine, with accounting: `slurm.sh start [FOLDER]`, `slurm.sh stop [FOLDER]`.
#
# Needs root and Debian's packages: apt-get install slurm-wlm munge slurmdbd mariadb-server-core mariadb-client-core
# All files are below FOLDER; after `start`, SLURM's commands find the cluster by SLURM_CONF=FOLDER/slurm.conf.
# Accounting is not decoration: submitit asks `sacct` how a job ended, and without it waits for ever for a killed one.
set -eu

FOLDER=${2:-${TMPDIR:-/tmp}/vlmatch-slurm}
HOST=$(hostname -s)
export SLURM_CONF="$FOLDER/slurm.conf"

waited() { # waited WHAT COMMAND...: until the command succeeds, 60 s at most
  what=$1; shift
  for _ in $(seq 120); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.5
  done
  echo "$what did not start within 60 s; see the logs in $FOLDER" >&2
  exit 1
}

start() {
  if [ -e "$FOLDER" ]; then
    echo "$FOLDER exists: stop that cluster first, by $0 stop $FOLDER" >&2
    exit 1
  fi
  mkdir -p "$FOLDER/state" "$FOLDER/spool" "$FOLDER/run"
  chmod 755 "$FOLDER" "$FOLDER/run"

  head -c 1024 /dev/urandom >"$FOLDER/munge.key"
  chmod 400 "$FOLDER/munge.key"
  munged --force --key-file="$FOLDER/munge.key" --socket="$FOLDER/run/munge" --pid-file="$FOLDER/run/munged.pid" \
    --log-file="$FOLDER/munged.log" --seed-file="$FOLDER/munge.seed"

  password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  mariadb-install-db --no-defaults --user=root --datadir="$FOLDER/database" --skip-test-db >"$FOLDER/install.log" 2>&1
  (umask 077 && cat >"$FOLDER/init.sql" <<END
CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS slurm@127.0.0.1 IDENTIFIED BY '$password';
GRANT ALL ON slurm_acct_db.* TO slurm@127.0.0.1;
END
  )
  setsid mariadbd --no-defaults --user=root --datadir="$FOLDER/database" --socket="$FOLDER/run/mariadb" --skip-name-resolve \
    --bind-address=127.0.0.1 --port=16820 --pid-file="$FOLDER/run/mariadbd.pid" --init-file="$FOLDER/init.sql" \
    >"$FOLDER/mariadbd.log" 2>&1 &
  waited MariaDB mariadb --no-defaults -h127.0.0.1 -P16820 -uslurm -p"$password" -e 'SELECT 1' slurm_acct_db

  (umask 077 && cat >"$FOLDER/slurmdbd.conf" <<END
AuthType=auth/munge
AuthInfo=socket=$FOLDER/run/munge
DbdHost=$HOST
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=root
LogFile=$FOLDER/slurmdbd.log
PidFile=$FOLDER/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=16820
StorageUser=slurm
StoragePass=$password
StorageLoc=slurm_acct_db
END
  )
  cat >"$SLURM_CONF" <<END
ClusterName=one_node
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$FOLDER/run/munge
StateSaveLocation=$FOLDER/state
SlurmdSpoolDir=$FOLDER/spool
SlurmctldLogFile=$FOLDER/slurmctld.log
SlurmdLogFile=$FOLDER/slurmd.log
SlurmctldPidFile=$FOLDER/run/slurmctld.pid
SlurmdPidFile=$FOLDER/run/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStoragePass=$FOLDER/run/munge
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait=10
NodeName=$HOST NodeAddr=127.0.0.1 CPUs=1 RealMemory=4000
PartitionName=main Nodes=ALL Default=YES State=UP
END
  echo "CgroupAutomount=no" >"$FOLDER/cgroup.conf"

  SLURM_CONF="$SLURM_CONF" slurmdbd
  waited slurmdbd sacctmgr -i show cluster
  sacctmgr -i add cluster one_node >/dev/null 2>&1 || true # slurmctld adds it too
  slurmctld -c
  slurmd
  waited SLURM sh -c 'sinfo -h -o %t | grep -qx idle'
  echo "SLURM runs. In each shell: export SLURM_CONF=$SLURM_CONF"
}

stop() {
  [ -e "$FOLDER" ] || exit 0
  for name in slurmctld slurmd slurmdbd mariadbd munged; do
    file="$FOLDER/run/$name.pid"
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 60); do kill -0 "$pid" 2>/dev/null || break; sleep 0.5; done
  done
  rm -rf "$FOLDER"
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  *) echo "usage: $0 start|stop [FOLDER]" >&2; exit 2 ;;
esac
