# The id of a topic is its name.
terraform import lockgate_topic.orders orders
