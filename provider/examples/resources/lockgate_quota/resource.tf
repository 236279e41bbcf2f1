# Each broker allows so much. Who goes beyond it is slowed down, and gets no error.
resource "lockgate_quota" "billing" {
  user               = "billing"
  producer_byte_rate = 5 * 1024 * 1024
  consumer_byte_rate = 10 * 1024 * 1024
}
