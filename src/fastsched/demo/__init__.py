"""The promises tried on a real folder: see `fastsched.demo.run`."""
