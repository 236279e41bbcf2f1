#!/usr/bin/env bash
# Stands in for Apache Kafka's tool of this name, in the forms in which librdkafka's tests call it.
# LG_LOCKGATE is our program; LOCKGATE_CLUSTER, which it reads, says where the broker is.
set -euo pipefail
action='' permission='' options=()
while [ $# -gt 0 ]; do
    case $1 in
    --add) action=create ;;
    --remove) action=delete ;;
    --force) ;;
    --allow-principal) permission=Allow && options+=(--principal "$2") && shift ;;
    --deny-principal) permission=Deny && options+=(--principal "$2") && shift ;;
    --allow-host | --deny-host) options+=(--host "$2") && shift ;;
    --operation | --topic) options+=("$1" "$2") && shift ;;
    --bootstrap-server) shift ;;
    *) echo "kafka-acls.sh: $1 is not known here" >&2 && exit 2 ;;
    esac
    shift
done
if [ "$action" = delete ]; then
    options+=(--permission "$permission" --yes)
elif [ "$permission" = Deny ]; then
    options+=(--deny)
fi
exec "$LG_LOCKGATE" acl "$action" "${options[@]}"
