# A topic that may exist already

# If there is a topic of this name, it is taken over: it gets the partitions and the configuration that are named here, and
# keeps its records and everything else. Where there is none, it is made. To fail instead, leave adopt_existing out.
resource "lockgate_topic" "payments" {
  name           = "payments"
  partitions     = 6
  adopt_existing = true

  config = {
    "retention.ms" = 30 * 24 * 60 * 60 * 1000
  }
}
