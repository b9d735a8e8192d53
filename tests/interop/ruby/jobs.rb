# frozen_string_literal: true

# Jobs of the Ruby side. Each notes in the list `seen` of Redis what it was called with.
require "json"
require "sidekiq"
require "sidekiq/scheduled"

Redis.silence_deprecations = true if Redis.respond_to?(:silence_deprecations=)

# Counts in the key `moved` what a server process pushes: what its poller takes out of a set.
class CountMoves
  def call(_class, job, _queue, _pool)
    Sidekiq.redis { |redis| redis.hincrby("moved", Process.pid, 1) }
    yield
  end
end

url = ENV.fetch("INTEROP_URL")
Sidekiq.configure_server do |config|
  config.redis = {url: url}
  config.client_middleware { |chain| chain.add(CountMoves) }
end
Sidekiq.configure_client { |config| config.redis = {url: url} }
Sidekiq.logger.level = Logger::WARN unless Sidekiq.server?

# Sidekiq waits 5 to 15 s before it looks at its sets, and 5 s between heartbeats, which no test needs to see.
Sidekiq::Scheduled::Poller.prepend(Module.new { private def initial_wait = nil })
if Sidekiq.server?
  require "sidekiq/launcher"
  Sidekiq::Launcher.send(:remove_const, :BEAT_PAUSE)
  Sidekiq::Launcher.const_set(:BEAT_PAUSE, 0.3)
end
Sidekiq.options[:poll_interval_average] = Float(ENV.fetch("INTEROP_POLL", "0.1"))
Sidekiq.options[:cron_poll_interval] = 1

def see(job, args)
  seen = {by: "ruby", class: job.class.name, args: args, jid: job.jid, pid: Process.pid}
  Sidekiq.redis { |redis| redis.rpush("seen", JSON.generate(seen)) }
end

class RubySeen
  include Sidekiq::Worker
  sidekiq_options queue: "ruby"

  def perform(*args) = see(self, args)
end

# Python fails at it, Ruby does not.
class PythonBreaks < RubySeen; end

# Lasts until it is released.
class RubyHold < RubySeen
  def perform(*args)
    super
    sleep(0.02) until Sidekiq.redis { |redis| redis.exists?("release") }
  end
end

class RubyBreaks
  include Sidekiq::Worker
  sidekiq_options queue: "ruby", retry_queue: "python", backtrace: 2

  def perform(text)
    raise ArgumentError, "boom é #{text}"
  end
end

class BothBreak
  include Sidekiq::Worker
  sidekiq_options queue: "ruby"

  def perform(text)
    see(self, [text])
    raise text
  end
end
