# Everything from the environment

# export LOCKGATE_BOOTSTRAP_SERVERS=broker-1.example:9093,broker-2.example:9093
# export LOCKGATE_TLS_CA_FILE=/etc/kafka/ca.pem
# export LOCKGATE_SASL_USERNAME=terraform
# export LOCKGATE_SASL_PASSWORD=...
#
# A URL works as well: export LOCKGATE_CLUSTER=file:///var/lib/lockgate
provider "lockgate" {}
