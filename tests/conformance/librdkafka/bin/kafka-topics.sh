#!/usr/bin/env bash
# Stands in for Apache Kafka's tool of this name, in the forms in which librdkafka's tests call it.
# LG_LOCKGATE is our program; LOCKGATE_CLUSTER, which it reads, says where the broker is.
set -euo pipefail
action='' topic='' options=()
while [ $# -gt 0 ]; do
    case $1 in
    --create | --alter | --delete) action=${1#--} ;;
    --topic) topic=$2 && shift ;;
    --partitions | --replication-factor | --config) options+=("$1" "$2") && shift ;;
    --bootstrap-server) shift ;;
    *) echo "kafka-topics.sh: $1 is not known here" >&2 && exit 2 ;;
    esac
    shift
done
[ "$action" = delete ] && options=(--yes)
exec "$LG_LOCKGATE" topic "$action" "${options[@]}" "$topic"
