# frozen_string_literal: true

# As jobs.rb, with sidekiq-cron.
require "sidekiq-cron"
require_relative "jobs"
